import { defineConfig } from "vite";

declare const process: { argv: string[] };

// `pnpm --filter @iterate/daemon-web build` writes dist/. To build beside the one being served, and swap it in
// whole afterwards:
//   pnpm --filter @iterate/daemon-web build --outDir dist.next
// pnpm hands a `--` before it on to vite, which would then drop the option without a word: so it is read here too.
const dashes = process.argv.indexOf("--");
const option = process.argv.indexOf("--outDir", dashes);
const outDir = dashes < 0 || option < 0 ? "dist" : (process.argv[option + 1] ?? "dist");

export default defineConfig({
  build: {
    outDir,
    // The page's policy allows no inline scripts, styles or data: addresses.
    assetsInlineLimit: 0,
    emptyOutDir: true,
    modulePreload: { polyfill: false },
    target: "es2022",
  },
  // `pnpm dev` in front of a running daemon, whose checks must see their own host and origin.
  server: {
    host: "127.0.0.1",
    proxy: {
      "/api": {
        target: "http://127.0.0.1:3000",
        changeOrigin: true,
        headers: { origin: "http://127.0.0.1:3000" },
      },
    },
  },
});
