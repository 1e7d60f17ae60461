// Tells fronts who gets their traffic, through the control socket in a directory that only the agent and the front share.
// Speaks HAProxy's runtime API (management guide, section 9.3); decides nothing. Handlers use it, and the loop to look.

import { chmod } from "node:fs/promises";
import { connect } from "node:net";
import { join } from "node:path";

import { makeDirectory } from "../host/files/make-directory.ts";
import { statePath } from "../host/state-layout.ts";
import { FRONT_CONTROL, nameBackend, type FrontRouting } from "../../shared/state/front.ts";
import type { Clock } from "../host/os/clock.ts";
import { readMessage } from "../../shared/text/read-message.ts";

/** Switches the traffic of fronts and watches connections end. */
export interface FrontPort {
  /** Who gets each front's traffic, by its name: as it said itself, or as it was told since. */
  readonly routing: ReadonlyMap<string, FrontRouting>;
  /**
   * Asks fronts themselves who gets their traffic: those of which nothing is known in this run, and with `again` all of them.
   * Answers soon in any case, since a turn waits for it: a front that is slow is heard by a later one. Never throws.
   */
  look(fronts: readonly AskedFront[], again: boolean): Promise<void>;
  /** The directory that is mounted into a front; made where it is missing. */
  mount(front: string): Promise<{ source: string; target: string; readOnly: boolean }>;
  /**
   * Sends new requests of every port to one address, and to no other.
   * @returns whether anything had to be changed
   * @throws when the front does not answer, or is then not as it was told
   */
  switchTo(front: string, to: FrontRouting, ports: readonly number[]): Promise<boolean>;
  /** Resolves when an address has no open connection any more, or the time is up; then it takes none, ever. */
  drain(front: string, from: Drained, signal: AbortSignal): Promise<void>;
}

/** One run of a front, and the ports that it holds. */
export interface AskedFront {
  front: string;
  run: string;
  ports: readonly number[];
}

/** Whose connections end, and how long they may take. */
export interface Drained {
  address: string;
  ports: readonly number[];
  timeoutMs: number;
}

/** One place for a server in a backend, as `show servers state` tells it. */
interface ServerSlot {
  name: string;
  address: string;
  /** The bits of srv_admin_state. */
  admin: number;
}

/** Bits of srv_admin_state (management guide, section 9.3): 0x04 says only how the configuration began. */
const MAINTENANCE = 0x01 | 0x02 | 0x20;
const DRAIN = 0x08 | 0x10;

const ANSWER_MS = 3_000;
/** A turn waits so long for fronts that it asks; they answer in a millisecond or two. */
const LOOK_MS = 500;
const LOOK_EVERY_MS = 250;
const LONGEST_ANSWER = 1 << 20;
/** The kernel takes no longer path for a unix socket (sun_path, unix(7)). */
const LONGEST_PATH = 107;

/** Fronts of HAProxy. */
export class FrontControl implements FrontPort {
  readonly routing = new Map<string, FrontRouting>();
  /** Fronts that are being asked or told something: what they said before that is no news. */
  readonly #asking = new Map<string, object>();
  readonly #root: string;
  readonly #clock: Clock;

  /** @param stateDir the agent's state directory */
  constructor(stateDir: string, clock: Clock) {
    this.#root = statePath(stateDir, "fronts");
    this.#clock = clock;
  }

  async mount(front: string): Promise<{ source: string; target: string; readOnly: boolean }> {
    await makeDirectory(this.#root, 0o700);
    const source = join(this.#root, front);
    await makeDirectory(source, 0o755);
    // The front runs as a user that the host does not know; who is not root gets no further than the directory above.
    await chmod(this.#root, 0o700);
    await chmod(source, 0o777);
    return { source, target: FRONT_CONTROL, readOnly: false };
  }

  async look(fronts: readonly AskedFront[], again: boolean): Promise<void> {
    const awaited: Promise<void>[] = [];
    for (const asked of fronts) {
      const known = this.routing.get(asked.front);
      const isKnown = known?.run === asked.run && known.silent === undefined;
      if (this.#asking.has(asked.front) || (isKnown && !again)) continue;
      const answered = this.#look(asked, isKnown);
      // One that was silent is not waited for again.
      if (known?.run !== asked.run || isKnown) awaited.push(answered);
    }
    if (awaited.length === 0) return;
    let cancel = (): void => undefined;
    const late = new Promise<void>((resolve) => (cancel = this.#clock.after(LOOK_MS, resolve)));
    await Promise.race([Promise.all(awaited), late]);
    cancel();
  }

  async #look({ front, run, ports }: AskedFront, isKnown: boolean): Promise<void> {
    const asking = {};
    this.#asking.set(front, asking);
    let said: FrontRouting;
    try {
      said = readTraffic(run, await this.#readSlots(front, ports));
    } catch (error) {
      said = { run, address: undefined, silent: readMessage(error) };
    }
    // It was told something meanwhile.
    if (this.#asking.get(front) !== asking) return;
    this.#asking.delete(front);
    // One answer that did not come takes nothing away from what it said before.
    if (said.silent === undefined || !isKnown) this.routing.set(front, said);
  }

  async switchTo(front: string, to: FrontRouting, ports: readonly number[]): Promise<boolean> {
    const asking = {};
    this.#asking.set(front, asking);
    try {
      const changed = await this.#switch(front, to, ports);
      this.routing.set(front, to);
      return changed;
    } catch (error) {
      // What it does now is asked anew.
      this.routing.delete(front);
      throw error;
    } finally {
      if (this.#asking.get(front) === asking) this.#asking.delete(front);
    }
  }

  async #switch(front: string, to: FrontRouting, ports: readonly number[]): Promise<boolean> {
    const before = await this.#readSlots(front, ports);
    const commands = ports.flatMap((port) => buildSwitch(port, before.get(port) ?? [], to.address));
    if (commands.length > 0) await this.#tell(front, commands);
    const after = commands.length === 0 ? before : await this.#readSlots(front, ports);
    const wrong = ports.find((port) => !isSwitched(after.get(port) ?? [], to.address));
    if (wrong !== undefined) throw new Error(`switch the traffic of ${front}: port ${wrong} did not follow`);
    return commands.length > 0;
  }

  async drain(front: string, from: Drained, signal: AbortSignal): Promise<void> {
    const endMs = this.#clock.monotonicMs() + from.timeoutMs;
    while (!signal.aborted && this.#clock.monotonicMs() < endMs) {
      if ((await this.#countConnections(front, from)) === 0) break;
      await this.#pause(LOOK_EVERY_MS, signal);
    }
    if (signal.aborted) throw new Error(`drain ${from.address}: it is wanted again`);
    const slots = await this.#readSlots(front, from.ports);
    const commands = from.ports.flatMap((port) =>
      (slots.get(port) ?? [])
        .filter((slot) => slot.address === from.address && !isReady(slot))
        .map((slot) => `set server ${nameBackend(port)}/${slot.name} state maint`),
    );
    if (commands.length > 0) await this.#tell(front, commands);
  }

  async #countConnections(front: string, { address, ports }: Drained): Promise<number> {
    const slots = await this.#readSlots(front, ports);
    const rows = parseTable(await this.#ask(front, "show stat"), ",");
    let open = 0;
    for (const port of ports) {
      const names = new Set((slots.get(port) ?? []).filter((slot) => slot.address === address).map(({ name }) => name));
      for (const row of rows) {
        if (row["pxname"] === nameBackend(port) && names.has(row["svname"] ?? "")) open += Number(row["scur"] ?? 0);
      }
    }
    return open;
  }

  async #readSlots(front: string, ports: readonly number[]): Promise<Map<number, ServerSlot[]>> {
    // The first line is the format's version.
    const [version, ...lines] = (await this.#ask(front, "show servers state")).split("\n");
    if (version?.trim() !== "1") throw new Error(`ask ${front}: its servers are told in an unknown form`);
    const rows = parseTable(lines.join("\n"), " ");
    const slots = new Map<number, ServerSlot[]>();
    for (const port of ports) {
      const mine = rows.filter((row) => row["be_name"] === nameBackend(port));
      if (mine.length < 2) throw new Error(`ask ${front}: it has no two slots for port ${port}`);
      slots.set(
        port,
        mine.map((row) => ({
          name: row["srv_name"] ?? "",
          address: row["srv_addr"] ?? "",
          admin: Number(row["srv_admin_state"]),
        })),
      );
    }
    return slots;
  }

  /** Orders that print nothing where they are obeyed, or say that they moved a server. */
  async #tell(front: string, commands: readonly string[]): Promise<void> {
    const answer = await this.#ask(front, commands.join("; "));
    const refusal = answer.split("\n").find((line) => /unknown|require|invalid|no such|error|permission/i.test(line));
    if (refusal !== undefined) throw new Error(`switch the traffic of ${front}: ${refusal.trim()}`);
  }

  /** One question, one answer: the front closes the connection behind it. */
  #ask(front: string, question: string): Promise<string> {
    const path = join(this.#root, front, "control.sock");
    if (Buffer.byteLength(path) > LONGEST_PATH)
      return Promise.reject(
        new Error(`ask ${front}: the path of its socket is too long: shorten the state directory's`),
      );
    return new Promise((resolve, reject) => {
      let answer = "";
      const socket = connect(path);
      const cancel = this.#clock.after(ANSWER_MS, () => socket.destroy(new Error(`no answer within ${ANSWER_MS} ms`)));
      socket.setEncoding("utf8");
      socket.on("connect", () => socket.write(`${question}\n`));
      socket.on("data", (chunk: string) => {
        answer += chunk;
        if (answer.length > LONGEST_ANSWER) socket.destroy(new Error("its answer has no end"));
      });
      socket.on("error", (error) => reject(new Error(`ask ${front}: ${error.message}`, { cause: error })));
      socket.on("close", () => {
        cancel();
        resolve(answer);
      });
    });
  }

  #pause(delayMs: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const end = (): void => {
        cancel();
        signal.removeEventListener("abort", end);
        resolve();
      };
      const cancel = this.#clock.after(delayMs, end);
      signal.addEventListener("abort", end);
    });
  }
}

/** Who gets the traffic, from what a front says of each port. */
function readTraffic(run: string, slots: ReadonlyMap<number, readonly ServerSlot[]>): FrontRouting {
  const ready = [...slots.values()].map((of) => of.filter(isReady).map((slot) => slot.address));
  const [address] = ready.flat();
  const even = ready.every(
    (addresses) => addresses.length === (address === undefined ? 0 : 1) && addresses[0] === address,
  );
  return even ? { run, address } : { run, address, uneven: true };
}

function isReady({ admin }: ServerSlot): boolean {
  return (admin & (MAINTENANCE | DRAIN)) === 0;
}

function isSwitched(slots: readonly ServerSlot[], address: string | undefined): boolean {
  const ready = slots.filter(isReady).map((slot) => slot.address);
  return address === undefined ? ready.length === 0 : ready.length === 1 && ready[0] === address;
}

/** The new one is ready before the old one gets no more; with nobody to take over, the old one is taken out at once. */
function buildSwitch(port: number, slots: readonly ServerSlot[], address: string | undefined): string[] {
  if (isSwitched(slots, address)) return [];
  const backend = nameBackend(port);
  const free = (slot: ServerSlot): boolean => !isReady(slot);
  const slot =
    slots.find((entry) => entry.address === address) ??
    slots.find((entry) => (entry.admin & MAINTENANCE) !== 0) ??
    slots.find(free) ??
    slots[0];
  const others = slots.filter((entry) => isReady(entry) && (address === undefined || entry !== slot));
  const open =
    address === undefined || slot === undefined
      ? []
      : [
          `set server ${backend}/${slot.name} addr ${address} port ${port}`,
          `set server ${backend}/${slot.name} state ready`,
        ];
  const state = address === undefined ? "maint" : "drain";
  return [...open, ...others.map((entry) => `set server ${backend}/${entry.name} state ${state}`)];
}

/** Rows of a table whose first line begins with `#` and names its columns. */
function parseTable(text: string, separator: string): Record<string, string>[] {
  const [head = "", ...lines] = text.split("\n").filter((line) => line.trim() !== "");
  const names = head.replace(/^#\s*/, "").split(separator);
  return lines.map((line) => {
    const cells = line.split(separator);
    return Object.fromEntries(names.map((name, index) => [name, cells[index] ?? ""]));
  });
}
