// What the engine says of a failure is told in one line, once: in a step's failure, and in a reason that is built of others. What it means
// is read from the whole, and secrets are taken out before anything is cut.

import { expect, test } from "vitest";

import { describeFailure } from "../../../agent/apply/failure.ts";
import { shortenAnswer } from "../../../agent/docker/engine-answer.ts";
import { call } from "../../../agent/docker/call.ts";
import { describeReason } from "../../../shared/text/describe-reason.ts";

const plain = (text: string): string => text;

test.each([
  [
    'start container: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: exec: "serve": executable file not found in $PATH: unknown',
    'start container: exec: "serve": executable file not found in $PATH',
  ],
  [
    'start container: OCI runtime create failed: container_linux.go:380: starting container process caused: exec: "serve": permission denied: unknown',
    'start container: exec: "serve": permission denied',
  ],
  [
    "start container: (HTTP code 500) server error - task 4b3a6cc7 already exists: unknown",
    "start container: task 4b3a6cc7 already exists",
  ],
  [
    "pull image: error pulling image configuration: dial tcp 10.0.0.1:443: connection refused: error pulling image configuration: dial tcp 10.0.0.1:443",
    "pull image: error pulling image configuration: dial tcp 10.0.0.1:443: connection refused",
  ],
  ["pull image: denied:\n  requested access to the resource", "pull image: denied: requested access to the resource"],
  // Short parts and what stands last may be there for a reason.
  ["a: a: runc create failed", "a: a: runc create failed"],
])("%s", (long, short) => {
  expect(shortenAnswer(long)).toBe(short);
  expect(shortenAnswer(short)).toBe(short);
});

test("a page of HTML is cut to its begin and its end", () => {
  const text = shortenAnswer(`pull image: parse answer: "<html>${"x".repeat(5_000)}</html>"`);
  expect(text.length).toBeLessThan(400);
  expect(text).toMatch(/^pull image: .* … x+<\/html>"$/);
});

test("an engine's error does not tell its cause again", async () => {
  const raw = Object.assign(new Error("(HTTP code 500) server error - no such device "), {
    statusCode: 500,
    json: null,
  });
  const error: unknown = await call("start container", () => Promise.reject(raw)).catch((failed: unknown) => failed);
  expect(describeFailure(error, plain).message).toBe("start container: no such device");
  expect(describeFailure(new Error("deliver secrets", { cause: error }), plain).message).toBe(
    "deliver secrets: start container: no such device",
  );
});

test("a secret that would be cut is taken out before", () => {
  const secret = "correct horse battery";
  const message = `start container: ${"x".repeat(255)} ${secret} ${"y".repeat(400)}`;
  const { message: told } = describeFailure(new Error(message), (text) => text.replaceAll(secret, "[REDACTED]"));
  expect(told).not.toMatch(/correct|battery/);
});

test("a reason of which a part is the failure itself tells it once", () => {
  const said = { message: "start container: task 4b3a6cc7 already exists" };
  const why = { code: "unstartable", said } as const;
  const once = (text: string): number => text.split(said.message).length - 1;
  expect(once(describeReason({ code: "failed-before", why, said }, 0))).toBe(1);
  const shown = { code: "said", said: { message: "fine" } } as const;
  expect(once(describeReason({ code: "runs-and-failed", shown, why, said }, 0))).toBe(1);
  const again = { said, now: { attempt: 1 } };
  expect(once(describeReason({ code: "beside", why, again, failed: said }, 0))).toBe(1);
});
