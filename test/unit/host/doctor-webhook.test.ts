// What `orca doctor` says of the webhook: whether pushes come, and what a forge needs for it.

import { expect, test } from "vitest";

import type { HostView, WebhookFact } from "../../../agent/doctor/doctor-facts.ts";
import { checkWebhook } from "../../../agent/doctor/webhook-checks.ts";

const QUIET = { signed: 0, refused: 0, polled: 0, last: "" };

function check(webhook: WebhookFact | undefined): ReturnType<typeof checkWebhook> {
  return checkWebhook({ webhook } as HostView);
}

test.each<[string, WebhookFact, string, RegExp, RegExp]>([
  [
    "a private address that no push has come to, while commits come by polling",
    { listen: "10.0.0.10:7071", answers: { ...QUIET, polled: 3 } },
    "warn",
    /no push has come .*, and 3 commits came by polling; pushes are waited for on 10\.0\.0\.10:7071/,
    /\[webhook\] ALLOWED_HOST_LIST = external\): write ALLOWED_HOST_LIST = external,private into its app\.ini/,
  ],
  [
    "a webhook that refuses every request",
    { listen: "203.0.113.9:7071", answers: { ...QUIET, refused: 2, polled: 3, last: "401, the signature" } },
    "warn",
    /every request .* was refused .*; the last one: 401, the signature/,
    /correct the hook/,
  ],
  [
    "a public address that no push has come to",
    { listen: "203.0.113.9:7071", answers: { ...QUIET, polled: 1 } },
    "warn",
    /and 1 commit came by polling/,
    /^look at the hook's deliveries at the forge, and use its test button$/,
  ],
  [
    "a loopback address, and an agent that does not answer",
    { listen: "127.0.0.1:7071", answers: undefined },
    "info",
    /whether pushes come there is not known/,
    /ALLOWED_HOST_LIST = external,loopback/,
  ],
])("%s", (...[, webhook, severity, what, fix]) => {
  expect(check(webhook)).toEqual([
    expect.objectContaining({ severity, what: expect.stringMatching(what), fix: expect.stringMatching(fix) }),
  ]);
});

test("says nothing without a webhook, and that all is fine where pushes come or no forge needs a word", () => {
  expect(check(undefined)).toEqual([]);
  const fine = [expect.objectContaining({ severity: "fine" })];
  expect(check({ listen: "10.0.0.10:7071", answers: { ...QUIET, signed: 1, refused: 3, polled: 2 } })).toEqual(fine);
  expect(check({ listen: "203.0.113.9:7071", answers: QUIET })).toEqual(fine);
});
