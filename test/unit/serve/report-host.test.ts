// What is read of the node, and the frames that the socket speaks.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import * as fc from "fast-check";
import { expect, test } from "vitest";

import { LoadMeter, readDisks, readMachineMemory, readUptimeSeconds } from "../../../agent/host/os/node-stats.ts";
import { findGroupId, findUserName } from "../../../agent/host/os/peer-credentials.ts";
import { encodeFrame, FRAME, FrameReader } from "../../../shared/text/frames.ts";

test("memory, load and up time are those of a machine", async () => {
  const { totalBytes, availableBytes } = await readMachineMemory();
  expect(availableBytes).toBeGreaterThan(0);
  expect(totalBytes).toBeGreaterThan(availableBytes);
  expect(readUptimeSeconds()).toBeGreaterThan(0);
  const meter = new LoadMeter();
  expect(meter.read().loadPercent).toBeUndefined();
  const untilMs = performance.now() + 120;
  while (performance.now() < untilMs);
  const { cpus, loadPercent } = meter.read();
  expect(cpus).toBeGreaterThan(0);
  // One of them has been busy all the time.
  expect(loadPercent).toBeGreaterThan(50 / cpus);
  expect(loadPercent).toBeLessThanOrEqual(100);
});

test("a file system is listed once, and a path that is not there not at all", async () => {
  const directory = mkdtempSync(join(tmpdir(), "orca-disk-"));
  const disks = await readDisks([directory, directory, tmpdir(), "/nonexistent"]);
  rmSync(directory, { recursive: true });
  expect(disks).toHaveLength(1);
  expect(disks[0]).toMatchObject({ path: directory });
  expect(disks[0]?.totalBytes).toBeGreaterThan(disks[0]?.freeBytes ?? Infinity);
});

test("users and groups have the names that this host gives them", async () => {
  expect(await findUserName(0)).toBe("root");
  expect(await findUserName(54_321)).toBeUndefined();
  expect(await findGroupId("root")).toBe(0);
  expect(await findGroupId("no-such-group")).toBeUndefined();
});

test("frames come out as they went in, however the stream is cut", () => {
  const type = fc.constantFrom(...Object.values(FRAME));
  const frames = fc.array(fc.tuple(type, fc.uint8Array({ maxLength: 50 })), { maxLength: 8 });
  fc.assert(
    fc.property(frames, fc.array(fc.nat({ max: 20 }), { maxLength: 60 }), (list, cuts) => {
      let stream = Buffer.concat(list.map(([kind, payload]) => encodeFrame(kind, payload)));
      const reader = new FrameReader();
      const came: [number, string][] = [];
      const take = (piece: Buffer): void => {
        for (const frame of reader.push(piece)) came.push([frame.type, frame.payload.toString("hex")]);
      };
      for (const cut of cuts) {
        take(stream.subarray(0, cut));
        stream = stream.subarray(cut);
      }
      take(stream);
      expect(came).toEqual(list.map(([kind, payload]) => [kind, Buffer.from(payload).toString("hex")]));
    }),
  );
});

test("a payload too large for one frame becomes several; what is no frame is an error", () => {
  const large = Buffer.alloc(2.5 * 2 ** 20, 7);
  const frames = new FrameReader().push(encodeFrame(FRAME.stdout, large));
  expect(frames).toHaveLength(3);
  expect(Buffer.concat(frames.map(({ payload }) => payload)).equals(large)).toBe(true);
  expect(() => new FrameReader().push(Buffer.from([9, 0, 0, 0, 0]))).toThrow("no frame");
  expect(() => new FrameReader().push(Buffer.from([1, 255, 255, 255, 255]))).toThrow("no frame");
});
