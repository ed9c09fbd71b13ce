import { useEffect, useState } from "preact/hooks";

import type { Service, Source, Status, Tool } from "./api";
import type { Outage } from "./app";
import { countOf, duration, moment } from "./format";
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
  receivedAt,
  outage,
  onRetry,
  onSignOut,
}: {
  status: Status | null;
  receivedAt: number;
  outage: Outage | null;
  onRetry: () => void;
  onSignOut: () => void;
}) {
  const time = useSeconds();
  const [tone, word] = overall(status, outage);

  useEffect(() => {
    document.title = `${word} · Sandbox`;
  }, [word]);

  // Between two answers the clocks go on; during an outage they stand still.
  const elapsed = outage ? 0 : Math.max(0, (time - receivedAt) / 1000);

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
      <main class={outage ? "stale" : undefined}>
        {outage && (
          <Banner tone="bad" title={outage.message}>
            <p>
              {status ? "This is the last known state. " : ""}
              {time < outage.retryAt
                ? `Trying again in ${Math.ceil((outage.retryAt - time) / 1000)} s.`
                : "Trying again…"}
            </p>
            <button type="button" class="plain" onClick={onRetry}>
              Try now
            </button>
          </Banner>
        )}
        {status && status.problems.length > 0 && (
          <Banner tone="warn" title={`${countOf(status.problems.length, "problem")} at the start of this sandbox`}>
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
              <ToolTable tools={status.tools} />
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

function overall(status: Status | null, outage: Outage | null): [Tone, string] {
  if (outage) return ["bad", "Daemon unreachable"];
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
  const isSilent = service.answers === false && (service.state === "ready" || service.state === "up");
  const [tone, word] = isSilent ? (["warn", "Not answering"] as const) : SERVICE[service.state];
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

function ToolTable({ tools }: { tools: Tool[] }) {
  const agentsFirst = [...tools].sort((a, b) => Number(b.agent) - Number(a.agent));
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
          {agentsFirst.map((tool) => {
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

/** `performance.now()`, renewed every second. */
function useSeconds(): number {
  const [time, setTime] = useState(() => performance.now());
  useEffect(() => {
    const timer = setInterval(() => setTime(performance.now()), 1000);
    return () => clearInterval(timer);
  }, []);
  return time;
}
