// How the CLI reaches an agent: by its unix socket, and for reading on loopback where the socket is not to be had.
// Says who is not reachable and what to run.

import { statSync } from "node:fs";

import type { Got, OptionsInit, Response } from "got";

import { listAgentSockets } from "../../host/os/agent-sockets.ts";
import type { StatusDocument } from "../../../shared/document/status-document.ts";
import { CommandError, EXIT } from "./exit-codes.ts";
import { printFault } from "./terminal.ts";
import { describeCount } from "../../../shared/text/count.ts";

/** What every command that talks to an agent understands. */
export interface ClientOptions {
  socket?: string;
}

/** An answer, and which way it came. */
export interface Answer {
  status: number;
  body: string;
  via: "socket" | "loopback";
}

/** Where an agent is looked for when nothing is said. */
const DEFAULT_PLACES = {
  socket: "/run/orca/agent.sock",
  loopback: "http://127.0.0.1:7070",
  list: listAgentSockets,
  say: printFault,
};
/** How long an agent may take to say its name. */
const NAME_MS = 2_000;
const TIMEOUT_MS = 15_000;

/** Talks to one agent. */
export class AgentClient {
  readonly #socket: string;
  readonly #chosen: boolean;
  readonly #loopback: string;
  readonly #places: typeof DEFAULT_PLACES;
  #found: string | undefined;

  /** @param places only a test looks elsewhere */
  constructor(options: ClientOptions, places: Partial<typeof DEFAULT_PLACES> = {}) {
    this.#places = { ...DEFAULT_PLACES, ...places };
    this.#loopback = this.#places.loopback;
    const chosen = options.socket ?? process.env["ORCA_SOCKET"];
    this.#chosen = chosen !== undefined && chosen !== "";
    this.#socket = this.#chosen ? (chosen as string) : this.#places.socket;
  }

  /** Reads a path: on a socket, which tells more, else on loopback, unless a socket was named. */
  async read(path: string, accept: string): Promise<Answer> {
    const options = { headers: { accept } };
    try {
      return { ...(await this.#ask(await this.findSocket(), path, options)), via: "socket" };
    } catch (error) {
      if (this.#chosen) throw unreachable(this.#socket, error);
      const answer = await this.#askLoopback(path, options);
      if (answer === undefined) throw unreachable(`${this.#socket} and on ${this.#loopback}`, error);
      return { ...answer, via: "loopback" };
    }
  }

  /** Asks for an act. */
  act(path: string, body: object = {}): Promise<Answer> {
    return this.#askSocket(path, { method: "POST", json: body });
  }

  /** Reads what is served on the socket only. */
  readTrusted(path: string): Promise<Answer> {
    return this.#askSocket(path, { headers: { accept: "application/json" } });
  }

  async #askSocket(path: string, options: OptionsInit): Promise<Answer> {
    const socket = await this.findSocket();
    try {
      return { ...(await this.#ask(socket, path, options)), via: "socket" };
    } catch (error) {
      throw unreachable(socket, error);
    }
  }

  /**
   * Finds the socket of an agent that answers: the named one; the host's own; one that runs with another socket (`orca up`), which is
   * believed only where root or this user owns that socket. Where several run, the person is told once which one is asked.
   */
  async findSocket(): Promise<string> {
    if (this.#chosen) return this.#socket;
    this.#found ??= await this.#look();
    return this.#found;
  }

  /** The named socket, else the host's own. */
  get socketPath(): string {
    return this.#socket;
  }

  /** True where a socket was named, by an option or the environment: its answer is wanted, and no other one's. */
  get isNamed(): boolean {
    return this.#chosen;
  }

  /**
   * Finds where an agent that runs here keeps its state: the named agent; else the only one, or with a node the one that runs that node.
   * Undefined where none says so.
   */
  async findStateDir(node?: string): Promise<string | undefined> {
    const others = this.#chosen ? [] : this.#places.list().filter((path) => path !== this.#socket);
    const sockets = [this.#socket, ...others].filter((path) => isSocket(path) && (this.#chosen || isOwn(path)));
    const answers = await Promise.all(sockets.map((socket) => this.#readStatus(socket).catch(() => undefined)));
    const found = answers.filter((status) => status !== undefined && (node === undefined || status.node === node));
    return found.length === 1 ? (found[0]?.agent.stateDir ?? undefined) : undefined;
  }

  async #look(): Promise<string> {
    const listed = this.#places.list();
    const running = listed.filter((path) => path !== this.#socket && isSocket(path) && isOwn(path));
    // A socket that an agent has left behind is none: where others run, the host's own has to be among those that listen.
    const isLeft = running.length > 0 && !listed.includes(this.#socket);
    const own = isSocket(this.#socket) && !isLeft ? this.#socket : undefined;
    const found = own ?? (running.length === 1 ? running[0] : await this.#askWhere(running));
    if (found === undefined) throw unreachable(this.#socket, { code: "ENOENT" });
    const others = running.filter((path) => path !== found);
    if (others.length > 0) await this.#sayWhich(found, others);
    return found;
  }

  /** What answers on loopback says its socket there; else the first one. */
  async #askWhere(running: readonly string[]): Promise<string | undefined> {
    const answer = await this.#askLoopback("/v1/status", {});
    const said = answer === undefined ? null : (JSON.parse(answer.body) as StatusDocument).agent.socket;
    return said !== null && isSocket(said) && isOwn(said) ? said : running[0];
  }

  async #sayWhich(found: string, others: readonly string[]): Promise<void> {
    const [asked, ...rest] = await Promise.all([found, ...others].map((socket) => this.#nameAgent(socket)));
    this.#places.say(
      `orca: ${describeCount(others.length + 1, "agent runs", "agents run")} here; asked ${asked}; for ${rest.join(" or ")} write --socket PATH`,
    );
  }

  async #nameAgent(socket: string): Promise<string> {
    try {
      return `node ${(await this.#readStatus(socket)).node} at ${socket}`;
    } catch {
      return `the one at ${socket}`;
    }
  }

  async #readStatus(socket: string): Promise<StatusDocument> {
    const timeout = { request: NAME_MS };
    const { body } = await this.#ask(socket, "/v1/status", { headers: { accept: "application/json" }, timeout });
    return JSON.parse(body) as StatusDocument;
  }

  async #askLoopback(path: string, options: OptionsInit): Promise<Omit<Answer, "via"> | undefined> {
    const got = await loadGot();
    const response = (await got(`${this.#loopback}${path}`, { ...options, ...FIXED }).catch(() => undefined)) as
      | Response<string>
      | undefined;
    // Whatever else may listen there: only an agent's answer counts.
    return response === undefined || response.statusCode === 421 ? undefined : simplify(response);
  }

  async #ask(socket: string, path: string, options: OptionsInit): Promise<Omit<Answer, "via">> {
    const got = await loadGot();
    return simplify((await got(socketUrl(socket, path), { ...FIXED, ...options })) as Response<string>);
  }
}

const FIXED = {
  enableUnixSockets: true,
  throwHttpErrors: false,
  followRedirect: false,
  retry: { limit: 0 },
  timeout: { request: TIMEOUT_MS },
  responseType: "text",
} as const;

/** Loads got only where something is asked. */
export async function loadGot(): Promise<Got> {
  return (await import("got")).default;
}

/** The URL of a path on a unix socket, in got's form. */
export function socketUrl(socket: string, path: string): string {
  if (socket.includes(":")) throw new CommandError(`the path of a socket holds no colon: ${socket}`);
  return `http://unix:${socket}:${path}`;
}

/** The answer as JSON, or the error that it tells. */
export function expectJson<T>(answer: Answer): T {
  if (answer.status >= 200 && answer.status < 300) return JSON.parse(answer.body) as T;
  throw new CommandError(describeRefusal(answer.body, answer.status));
}

/** What a refusing answer says: JSON with `error`, or a line of text. */
export function describeRefusal(body: string, status: number): string {
  try {
    const { error } = JSON.parse(body) as { error?: unknown };
    if (typeof error === "string") return error;
  } catch {
    // It was text.
  }
  return body.trim() === "" ? `the agent answered ${status}` : body.trim();
}

/** An agent that cannot be reached: who, why, and what to do. */
export function unreachable(where: string, error: unknown): CommandError {
  const { code } = error as { code?: string };
  return new CommandError(`${describeUnreachable(where, code)}${hintFor(code)}`, EXIT.unreachable);
}

function describeUnreachable(where: string, code: string | undefined): string {
  if (code === "EACCES" || code === "EPERM") return `this user may not use the socket ${where}`;
  if (code === "ETIMEDOUT") return `the agent at ${where} does not answer in time`;
  return `no agent answers at ${where}${code === undefined ? "" : ` (${code})`}`;
}

function hintFor(code: string | undefined): string {
  if (code === "EACCES" || code === "EPERM") return ": use sudo, or join the group orca";
  return ": is it running? (systemctl status orca-agent, or orca up DIR; another socket: --socket PATH; orca help runbook)";
}

function simplify(response: Response<string>): Omit<Answer, "via"> {
  return { status: response.statusCode, body: response.body };
}

function isSocket(path: string): boolean {
  try {
    return statSync(path).isSocket();
  } catch (error) {
    // A socket in a directory that may not be looked into is there all the same: the answer is then "may not use".
    return (error as NodeJS.ErrnoException).code === "EACCES";
  }
}

function isOwn(path: string): boolean {
  const { uid } = statSync(path);
  return uid === 0 || uid === process.getuid?.();
}
