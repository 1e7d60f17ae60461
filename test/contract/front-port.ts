// What every implementation of the front port must do: run on the fake (unit) and on real fronts (docker).

import { describe, expect, test } from "vitest";

import type { FrontPort } from "../../agent/apply/front-control.ts";

/** One front with two servers that can take its traffic. */
export interface FrontLab {
  port: FrontPort;
  front: string;
  /** The front's ports; connections are opened over the last. */
  ports: readonly number[];
  /** Two servers' addresses. */
  first: string;
  second: string;
  /** Opens a connection through the front; answers how to close it. */
  open: () => Promise<() => Promise<void>>;
  /** The address that answers a new request on the first port; undefined where nobody does. */
  ask: () => Promise<string | undefined>;
  /** Ends the front and starts the same container again. */
  restart: () => Promise<void>;
  /** Another agent: it remembers nothing of what was told. */
  forget: () => FrontPort;
}

const never = new AbortController().signal;

/** Describes the port. */
export function describeFrontPort(name: string, openLab: () => Promise<FrontLab>): void {
  describe(`the front port: ${name}`, () => {
    test("sends the traffic where it is told, and says whether that was news", async () => {
      const { port, front, ports, first, second, ask } = await openLab();
      expect(await ask()).toBe(undefined);
      expect(port.routing.get(front)).toBe(undefined);
      expect(await port.switchTo(front, { run: "1", address: first }, ports)).toBe(true);
      expect(port.routing.get(front)).toEqual({ run: "1", address: first });
      expect(await ask()).toBe(first);
      expect(await port.switchTo(front, { run: "1", address: first }, ports)).toBe(false);
      expect(await port.switchTo(front, { run: "1", address: second }, ports)).toBe(true);
      expect(await ask()).toBe(second);
      expect(await port.switchTo(front, { run: "1", address: undefined }, ports)).toBe(true);
      expect(await ask()).toBe(undefined);
      expect(await port.switchTo(front, { run: "1", address: first }, ports)).toBe(true);
      expect(await ask()).toBe(first);
    });

    test("another agent learns that nothing has to be told", async () => {
      const { port, front, ports, first, ask, forget } = await openLab();
      await port.switchTo(front, { run: "1", address: first }, ports);
      const other = forget();
      expect(other.routing.size).toBe(0);
      expect(await other.switchTo(front, { run: "1", address: first }, ports)).toBe(false);
      expect(await ask()).toBe(first);
    });

    test("another agent asks the front itself who gets its traffic", async () => {
      const { port, front, ports, first, second, forget } = await openLab();
      const look = async (run: string, again = false): Promise<unknown> => {
        await port.look([{ front, run, ports }], again);
        return port.routing.get(front);
      };
      expect(await look("1")).toEqual({ run: "1", address: undefined });
      await port.switchTo(front, { run: "1", address: first }, ports);
      const other = forget();
      await other.look([{ front, run: "1", ports }], false);
      expect(other.routing.get(front)).toEqual({ run: "1", address: first });
      // Whoever else has told it meanwhile is heard when it is asked again.
      await other.switchTo(front, { run: "1", address: second }, ports);
      expect(await look("1")).toEqual({ run: "1", address: first });
      expect(await look("1", true)).toEqual({ run: "1", address: second });
    });

    test("a front that was started again sends its traffic to nobody until it is told, and says so", async () => {
      const { port, front, ports, first, ask, restart } = await openLab();
      await port.switchTo(front, { run: "1", address: first }, ports);
      await restart();
      expect(await ask()).toBe(undefined);
      await port.look([{ front, run: "2", ports }], false);
      expect(port.routing.get(front)).toEqual({ run: "2", address: undefined });
      expect(await port.switchTo(front, { run: "2", address: undefined }, ports)).toBe(false);
      expect(await port.switchTo(front, { run: "2", address: first }, ports)).toBe(true);
      expect(await ask()).toBe(first);
    });

    test("a front that is not there is silent, until it answers", async () => {
      const { port, ports } = await openLab();
      await port.look([{ front: "nobody.front", run: "1", ports }], false);
      const silent = expect.stringMatching(/^ask nobody\.front: connect ENOENT/);
      expect(port.routing.get("nobody.front")).toEqual({ run: "1", address: undefined, silent });
    });

    test("an open connection is waited for, and no longer than its time", async () => {
      const { port, front, ports, first, second, open, ask } = await openLab();
      await port.switchTo(front, { run: "1", address: first }, ports);
      const close = await open();
      await port.switchTo(front, { run: "1", address: second }, ports);
      let ended = false;
      const drained = port.drain(front, { address: first, ports, timeoutMs: 60_000 }, never).then(() => (ended = true));
      await pause(700);
      expect(ended).toBe(false);
      await close();
      await drained;
      expect(await ask()).toBe(second);
      const left = await open();
      await port.switchTo(front, { run: "1", address: first }, ports);
      await port.drain(front, { address: second, ports, timeoutMs: 400 }, never);
      await left();
      expect(await ask()).toBe(first);
    });

    test("waiting ends at once when it is cancelled", async () => {
      const { port, front, ports, first, second, open } = await openLab();
      await port.switchTo(front, { run: "1", address: first }, ports);
      const close = await open();
      await port.switchTo(front, { run: "1", address: second }, ports);
      const abort = new AbortController();
      const drained = port.drain(front, { address: first, ports, timeoutMs: 60_000 }, abort.signal);
      setTimeout(() => abort.abort(), 100);
      await expect(drained).rejects.toThrow(`drain ${first}: it is wanted again`);
      await close();
    });

    test("a front that is not there is said so", async () => {
      const { port, ports, first } = await openLab();
      await expect(port.switchTo("nobody.front", { run: "1", address: first }, ports)).rejects.toThrow(
        /^ask nobody\.front: connect ENOENT/,
      );
    });
  });
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
