// What systemd is told of the agent, through a real socket: readiness once, the watchdog with the loop's turns, the end.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterEach, beforeEach, expect, test, vi } from "vitest";

import { systemClock } from "../../../agent/host/os/clock.ts";
import { Systemd } from "../../../agent/host/os/systemd.ts";
import { NotifySocket } from "../../builders/node/notify-socket.ts";

let directory: string;
let nowMs: number;
const clock = { ...systemClock, monotonicMs: () => nowMs };

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "orca-notify-"));
  nowMs = 1_000;
});

afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(directory, { recursive: true });
});

test.each([["a path"], ["an abstract name"]])(
  "readiness once, the watchdog every ten seconds, the end (%s)",
  async (kind) => {
    const path = kind === "a path" ? join(directory, "notify") : `@orca-test-${process.pid}-${Date.now()}`;
    const socket = await NotifySocket.open(path);
    vi.stubEnv("NOTIFY_SOCKET", path);
    const systemd = new Systemd(clock);
    systemd.ready("1 of 2 healthy");
    await vi.waitFor(() => expect(socket.heard).toEqual(["READY=1\nWATCHDOG=1\nSTATUS=1 of 2 healthy"]));
    systemd.turned("too soon");
    nowMs += 10_000;
    systemd.turned("2 of 2 healthy");
    systemd.stopping();
    await vi.waitFor(() => expect(socket.heard.slice(1)).toEqual(["WATCHDOG=1\nSTATUS=2 of 2 healthy", "STOPPING=1"]));
    socket.close();
  },
);

test("what nobody took is told again with the next turn: an agent that is ready is not killed for a word that was lost", async () => {
  const path = join(directory, "notify");
  vi.stubEnv("NOTIFY_SOCKET", path);
  const systemd = new Systemd(clock);
  systemd.ready("lost");
  // The C library is there, and what was said is gone.
  await vi.dynamicImportSettled();
  await new Promise((resolve) => setImmediate(resolve));
  const socket = await NotifySocket.open(path);
  await vi.waitFor(() => {
    systemd.turned("all healthy");
    expect(socket.heard[0]).toBe("READY=1\nWATCHDOG=1\nSTATUS=all healthy");
  });
  socket.close();
});
