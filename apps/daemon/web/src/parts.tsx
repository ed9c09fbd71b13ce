import type { ComponentChildren } from "preact";

export type Tone = "good" | "busy" | "warn" | "bad" | "plain";

/** State as a word and a shape, never as a colour alone. */
export function Badge({ tone, children }: { tone: Tone; children: ComponentChildren }) {
  return <span class={`badge ${tone}`}>{children}</span>;
}

export function Banner({
  tone,
  title,
  children,
}: {
  tone: "warn" | "bad";
  title: string;
  children: ComponentChildren;
}) {
  return (
    <section class={`banner ${tone}`} aria-label={title}>
      <strong>{title}</strong>
      {children}
    </section>
  );
}

export function Fact({ name, children }: { name: string; children: ComponentChildren }) {
  return (
    <div class="fact">
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}

export function Mark() {
  return (
    <svg class="mark" viewBox="0 0 32 32" width="32" height="32" aria-hidden="true">
      <rect width="32" height="32" rx="8" />
      <path d="M9 11l5 5-5 5M16 21h7" />
    </svg>
  );
}
