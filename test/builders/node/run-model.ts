// Services whose files, secrets and specs change at any moment of their starts, on one node: what each should have, what the
// process of its newest run has read, and whether anything was recorded as good too early. For tests of runs.

import type { AgentEvent } from "../../../shared/state/event.ts";
import type { FakeContainer } from "../../fakes/fake-container.ts";
import { readMounts } from "../../fakes/fake-container.ts";
import { FakeSecrets } from "../../fakes/fake-secrets.ts";
import { buildManifest } from "./manifest.ts";
import { TestNode } from "./node.ts";

/** One change of one service. `bad` is content with which it is never healthy; `back` takes the last change back. */
export type Change = "file" | "signalled" | "secret" | "spec" | "bad" | "back";

/** What a service should have. */
interface Wanted {
  file: string;
  signalled: string;
  secret: string;
  spec: string;
}

export const SETTLE_MS = 3_000;
const FIRST: Wanted = { file: "first", signalled: "first", secret: "first", spec: "first" };
/** How long the engine takes: to stop a container, to start one, and to say that it has. */
interface EngineTimes {
  stopMs: number;
  startMs: number;
  answerMs: number;
}

const SLOW: EngineTimes = { stopMs: 2_000, startMs: 1_000, answerMs: 1_500 };
/** A process that runs needs so long until it answers. */
const HEALTHY_AFTER_MS = 700;

/** A node with services that change. */
export class RunModel {
  readonly node: TestNode;
  /** What was recorded as good although it had not been well for its time with what it should have. */
  readonly early: string[] = [];
  readonly #secrets = new FakeSecrets();
  readonly #wanted = new Map<string, Wanted[]>();
  #changes = 0;

  constructor(services: readonly string[], { stopMs, startMs, answerMs }: EngineTimes = SLOW) {
    const hear = (event: AgentEvent): void => this.#hear(event);
    const sink = { hear, close: async () => undefined, isBusy: false, note: undefined };
    this.node = new TestNode({ secrets: this.#secrets, planSettings: { startSlots: 100 }, openSink: () => sink });
    const { engine } = this.node;
    engine.images.set("app:1", { healthyAfterMs: HEALTHY_AFTER_MS });
    engine.latencyMs.stopContainer = stopMs;
    engine.latencyMs.startContainer = startMs;
    engine.answersAfterMs.startContainer = answerMs;
    engine.refuses = (seen) => seen["/file"]?.startsWith("bad") === true;
    for (const service of services) this.#want(service, FIRST);
  }

  /** Starts the agent and waits until everything is good. */
  async start(): Promise<void> {
    await this.node.start();
    await this.node.untilSettled([...this.#wanted.keys()]);
  }

  /** Changes one service. */
  change(service: string, change: Change): void {
    this.#changes += 1;
    const before = this.#wanted.get(service) ?? [FIRST];
    const now = before.at(-1) ?? FIRST;
    const value = `${change}-${this.#changes}`;
    if (change === "back") this.#want(service, before.at(-2) ?? FIRST);
    else if (change === "bad") this.#want(service, { ...now, file: value });
    else this.#want(service, { ...now, [change]: value });
  }

  /** What is not as it should be when everything has come to rest. */
  listFaults(): string[] {
    return [...this.#wanted.keys()].flatMap((service) =>
      this.#findFault(service).map((fault) => `${service}: ${fault}`),
    );
  }

  #want(service: string, wanted: Wanted): void {
    const known = this.#wanted.get(service) ?? [];
    this.#wanted.set(service, [...known, wanted]);
    const { source } = this.node;
    if (known.at(-1)?.secret !== wanted.secret) this.#secrets.set({ [`/prod/${service}/PW`]: wanted.secret });
    if (known.at(-1)?.file !== wanted.file) source.setFile(`files/${service}.file`, wanted.file);
    if (known.at(-1)?.signalled !== wanted.signalled) source.setFile(`files/${service}.signalled`, wanted.signalled);
    if (known.at(-1)?.spec !== wanted.spec) source.set({ [service]: buildService(service, wanted.spec) });
  }

  #findFault(service: string): string[] {
    const { engine } = this.node;
    const running = engine.of(service).filter(({ status }) => status === "running");
    const [container] = running;
    if (container === undefined || running.length > 1) return [`${running.length} of it run`];
    const view = this.node.view(service);
    const wanted = this.#wanted.get(service)?.at(-1) ?? FIRST;
    const has = readWhatItHas(container);
    if (JSON.stringify(container.seen) !== JSON.stringify(readMounts(container)))
      return [`its process has ${JSON.stringify(has)}, and its files are others`];
    if (!wanted.file.startsWith("bad")) {
      if (JSON.stringify(has) !== JSON.stringify(wanted))
        return [
          `it has ${JSON.stringify(has)} and should have ${JSON.stringify(wanted)}: ${view.state}: ${view.reason}`,
        ];
      return view.state === "healthy" && view.settled ? [] : [`${view.state}: ${view.reason}`];
    }
    if (has.file.startsWith("bad")) return [`it has what it is sick with: ${view.state}: ${view.reason}`];
    return view.state === "rolled-back"
      ? []
      : [`what it wants is bad, and nothing is said: ${view.state}: ${view.reason}`];
  }

  /** Each record of a release is looked at when it is made, by what the engine knows. */
  #hear(event: AgentEvent): void {
    if (event.kind !== "settled") return;
    const { engine, clock } = this.node;
    const container = engine.running(event.service);
    if (container === undefined) return void this.early.push(`${event.service}: it does not run`);
    const wellSinceMs = Math.max(container.beganMs + HEALTHY_AFTER_MS, container.seenMs);
    const wellMs = clock.monotonicMs() - wellSinceMs;
    if (wellMs < SETTLE_MS) this.early.push(`${event.service}: after ${wellMs} ms`);
    if (!engine.isHealthy(container.id)) this.early.push(`${event.service}: it is sick`);
    if (JSON.stringify(container.seen) !== JSON.stringify(readMounts(container)))
      this.early.push(`${event.service}: its process has not read what lies in its files`);
  }
}

function readWhatItHas({ seen, request }: FakeContainer): Wanted {
  return {
    file: seen["/file"] ?? "",
    signalled: seen["/signalled"] ?? "",
    secret: seen["/run/secrets/pw"] ?? "",
    spec: request?.spec.env?.["SPEC"] ?? "",
  };
}

function buildService(service: string, spec: string): string {
  const tables = `
[update]
settle = "${SETTLE_MS}ms"
healthy_within = "20s"
[env]
SPEC = "${spec}"
[secrets.files]
pw = "/prod/${service}/PW"
[[files]]
source = "files/${service}.file"
target = "/file"
[[files]]
source = "files/${service}.signalled"
target = "/signalled"
on_change = { signal = "SIGHUP" }`;
  return buildManifest({ health: 'tcp = { port = 80 }\ninterval = "2s"', tables });
}
