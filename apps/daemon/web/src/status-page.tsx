import { useEffect, useState } from "preact/hooks";

import type { Service, Source, Status, Tool } from "./api";
import type { Away } from "./app";
import { duration, moment, plural } from "./format";
import { Badge, Banner, Fact, Mark, type Tone } from "./parts";

const SERVICE: Record<Service["state"], [Tone, string]> = {
  ready: ["good", "Ready"],
  starting: ["busy", "Starting"],
  up: ["good", "Running"],
  restarting: ["warn", "Restarting"],
  down: ["plain", "Stopped"],
  failed: ["bad", "Failed"],
  unknown: ["plain", "Unknown"],
};

const TOOL: Record<Tool["state"], [Tone, string]> = {
  match: ["good", "As pinned"],
  mismatch: ["warn", "Differs from pin"],
  unpinned: ["plain", "Not pinned"],
  missing: ["bad", "Missing"],
  error: ["bad", "Does not run"],
  checking: ["busy", "Checking"],
};

export function StatusPage({
  status,
  at,
  away,
  onRetry,
  onSignOut,
}: {
  status: Status | null;
  at: number;
  away: Away | null;
  onRetry: () => void;
  onSignOut: () => void;
}) {
  const now = useSeconds();
  const [tone, word] = overall(status, away);

  useEffect(() => {
    document.title = `${word} · Sandbox`;
  }, [word]);

  // Between two answers the clocks run on; while the daemon is away they stand still.
  const elapsed = away ? 0 : Math.max(0, (now - at) / 1000);

  return (
    <>
      <header class="top">
        <Mark />
        <div class="name">
          <h1>Sandbox</h1>
          {status && <SourceLine source={status.source} />}
        </div>
        <div role="status">
          <Badge tone={tone}>{word}</Badge>
        </div>
        <button type="button" class="plain" onClick={onSignOut}>
          Sign out
        </button>
      </header>
      <main class={away ? "stale" : undefined}>
        {away && (
          <Banner tone="bad" title={away.message}>
            <p>
              {status ? "What you see is from before. " : ""}
              {now < away.retryAt
                ? `Trying again in ${Math.ceil((away.retryAt - now) / 1000)} s.`
                : "Trying again…"}
            </p>
            <button type="button" class="plain" onClick={onRetry}>
              Try now
            </button>
          </Banner>
        )}
        {status && status.problems.length > 0 && (
          <Banner tone="warn" title={`${plural(status.problems.length, "problem")} at the start of this sandbox`}>
            <ul>
              {status.problems.map((problem) => (
                <li key={problem.step + problem.message}>
                  <code>{problem.step}</code> {problem.message}
                </li>
              ))}
            </ul>
          </Banner>
        )}
        {status && (
          <>
            <section aria-labelledby="services">
              <h2 id="services">Services</h2>
              <ul class="cards">
                {status.services.map((service) => (
                  <ServiceCard key={service.name} service={service} elapsed={elapsed} />
                ))}
              </ul>
            </section>
            <section aria-labelledby="versions">
              <h2 id="versions">Versions</h2>
              <Tools tools={status.tools} />
            </section>
            <section aria-labelledby="about">
              <h2 id="about">About this sandbox</h2>
              <About status={status} elapsed={elapsed} />
            </section>
          </>
        )}
      </main>
    </>
  );
}

function overall(status: Status | null, away: Away | null): [Tone, string] {
  if (away) return ["bad", "Daemon away"];
  if (!status) return ["busy", "Loading"];
  if (status.services.some((service) => service.state === "failed")) return ["bad", "Service failed"];
  if (!status.ready) return ["warn", "Not ready"];
  const isWrong = (tool: Tool) => ["warn", "bad"].includes(TOOL[tool.state][0]);
  if (status.problems.length > 0 || status.tools.some(isWrong)) return ["warn", "Ready, with problems"];
  return ["good", "Ready"];
}

function SourceLine({ source }: { source: Source }) {
  if (!source.sha) return <p class="quiet">unknown source</p>;
  return (
    <p class="quiet">
      {source.branch ?? "detached"} <span aria-hidden="true">·</span>{" "}
      <code title={source.sha}>{source.sha.slice(0, 10)}</code>
      {source.dirty && (
        <>
          {" "}
          <span class="tag">uncommitted changes</span>
        </>
      )}
    </p>
  );
}

function ServiceCard({ service, elapsed }: { service: Service; elapsed: number }) {
  const quiet = service.answers === false && (service.state === "ready" || service.state === "up");
  const [tone, word] = quiet ? (["warn", "Not answering"] as const) : SERVICE[service.state];
  const isUp = service.pid !== null;
  return (
    <li class="card" data-service={service.name}>
      <div class="card-head">
        <h3>{service.name}</h3>
        <Badge tone={tone}>{word}</Badge>
      </div>
      {service.reason && tone !== "good" && <p class={`reason ${tone}`}>{service.reason}</p>}
      <dl class="facts">
        <Fact name="Version">{service.version ?? "–"}</Fact>
        <Fact name={isUp ? "Up for" : "Down for"}>
          {service.since_seconds === null ? "–" : duration(service.since_seconds + elapsed)}
        </Fact>
        <Fact name="Restarts">{service.restarts ?? "–"}</Fact>
        <Fact name="Process">{service.pid ?? "–"}</Fact>
      </dl>
    </li>
  );
}

function Tools({ tools }: { tools: Tool[] }) {
  const ordered = [...tools].sort((a, b) => Number(b.agent) - Number(a.agent));
  return (
    <div class="card table">
      <table>
        <thead>
          <tr>
            <th scope="col">Tool</th>
            <th scope="col">Installed</th>
            <th scope="col">Pinned</th>
            <th scope="col">State</th>
          </tr>
        </thead>
        <tbody>
          {ordered.map((tool) => {
            const [tone, word] = TOOL[tool.state];
            return (
              <tr key={tool.command} class={tone} data-tool={tool.command} data-state={tool.state}>
                <th scope="row">
                  {tool.name}
                  {tool.agent && <span class="tag">agent</span>}
                  {tool.detail && <span class="detail">{tool.detail}</span>}
                </th>
                <td data-label="Installed">{tool.installed ?? "–"}</td>
                <td data-label="Pinned">{tool.pinned ?? "–"}</td>
                <td>
                  <Badge tone={tone}>{word}</Badge>
                </td>
              </tr>
            );
          })}
        </tbody>
      </table>
    </div>
  );
}

function About({ status, elapsed }: { status: Status; elapsed: number }) {
  const { source, image, sandbox, daemon } = status;
  return (
    <dl class="card about">
      <Fact name="Running source">
        {source.sha ? <Commit source={source} /> : "unknown"}
        {status.mode === "local" && <span class="tag">from the host</span>}
      </Fact>
      {image.sha !== source.sha && (
        <Fact name="Built into the image">{image.sha ? <Commit source={image} /> : "unknown"}</Fact>
      )}
      <Fact name="Image identity">{image.identity ? <code>{image.identity}</code> : "unknown"}</Fact>
      <Fact name="Built">
        {image.built_at ? <time dateTime={image.built_at}>{moment(image.built_at)}</time> : "unknown"}
        {image.base_image && <span class="quiet">on {image.base_image}</span>}
      </Fact>
      <Fact name="Sandbox started">
        {sandbox.started_at ? (
          <time dateTime={sandbox.started_at}>{moment(sandbox.started_at)}</time>
        ) : (
          "unknown"
        )}
      </Fact>
      <Fact name="Daemon">
        {daemon.version}
        <span class="quiet">up for {duration(daemon.uptime_seconds + elapsed)}</span>
      </Fact>
    </dl>
  );
}

function Commit({ source }: { source: Source }) {
  return (
    <>
      <code>{source.sha}</code>
      <span class="tag">{source.branch ?? "detached"}</span>
      {source.dirty && <span class="tag warn">uncommitted changes</span>}
    </>
  );
}

/** `performance.now()`, renewed each second. */
function useSeconds(): number {
  const [now, setNow] = useState(() => performance.now());
  useEffect(() => {
    const timer = setInterval(() => setNow(performance.now()), 1000);
    return () => clearInterval(timer);
  }, []);
  return now;
}
