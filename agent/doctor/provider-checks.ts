// Where secrets come from: a plain file, a server that cannot be asked, last known values that grow old, a clock that is wrong.

import { describeDuration } from "../../shared/text/duration.ts";
import type { SecretRefusal } from "../../shared/secret/secret-facts.ts";
import { describeRefusals } from "../../shared/secret/secret-refusal.ts";
import { type Finding, fine } from "./finding.ts";
import type { HostView } from "./doctor-facts.ts";

/** Of the time that last known values may be old, so much is a warning. */
const STALE_SHARE = 0.5;
/** Tokens, certificates and the retention of backups hang on the time. */
const LARGEST_SKEW_MS = 5_000;

/** Judges the provider, what is kept of it, and the clock. */
export function checkProvider(host: HostView): Finding[] {
  return [
    ...[checkPlain(host), checkReachable(host), checkSealed(host)].filter((entry) => entry !== undefined),
    ...(host.sealed?.refusals ?? []).map((refusal) => describeRefusedSecret(refusal, host)),
    checkClock(host),
  ];
}

function checkPlain({ provider, config }: HostView): Finding | undefined {
  const check = "secrets file";
  if (provider.kind !== "file") return undefined;
  const { location, plainAllowed, isPlain } = provider;
  const why = "a backup, a copy or a stolen disk has every secret of this host";
  if (isPlain)
    return {
      check,
      severity: "warn",
      what: `${location} lies on this disk unencrypted`,
      why,
      fix: `orca secrets edit --file ${location}, and take plain out of ${config}`,
    };
  if (plainAllowed)
    return {
      check,
      severity: "info",
      what: `${location} is encrypted, and may be plain`,
      why: "plain = true is not needed",
      fix: `take plain out of ${config}`,
    };
  return fine(check, `${location} is encrypted with age`);
}

function checkReachable({ provider }: HostView): Finding | undefined {
  const check = "provider";
  const { kind, location, trouble } = provider;
  if (kind === "none") return undefined;
  // No login is made here: those are counted.
  const letsIn = kind === "infisical" ? "; whether it lets this host in, orca status says" : "";
  if (trouble === undefined) return fine(check, `${location} answers${letsIn}`);
  const why = "what runs goes on with what is known; nothing new can start, and nothing rotates";
  const fix =
    kind === "file" ? `orca secrets list --file ${location}` : `curl -sS ${location.split(" ")[0] ?? ""}/api/status`;
  return { check, severity: "fail", what: `${location} cannot be asked: ${trouble}`, why, fix };
}

function checkSealed({ sealed, provider, nowMs }: HostView): Finding | undefined {
  const check = "last known secrets";
  if (provider.kind === "none") return undefined;
  if (sealed === undefined || sealed.readMs.length === 0) {
    if (sealed !== undefined && sealed.refusals.length > 0) return undefined;
    const why = "a reboot without the provider would start no service that takes a secret";
    return {
      check,
      severity: "info",
      what: "none are kept on this host yet",
      why,
      fix: "they are kept once a service takes one",
    };
  }
  const ageMs = nowMs - Math.min(...sealed.readMs);
  const limit = describeDuration(sealed.maxStaleMs);
  const what = `the oldest of ${sealed.readMs.length} was confirmed ${describeDuration(Math.max(0, ageMs))} ago, of ${limit} allowed`;
  if (ageMs <= sealed.maxStaleMs * STALE_SHARE) return fine(check, what);
  const why = `after ${limit} a service that takes it is not started any more`;
  const severity = ageMs > sealed.maxStaleMs ? "fail" : "warn";
  return { check, severity, what, why, fix: "see why the provider was not asked: orca status" };
}

/** What runs is well, and is not started again: nothing else on the host shows that. */
function describeRefusedSecret(refusal: SecretRefusal, { nowMs, provider }: HostView): Finding {
  const age = describeDuration(Math.max(0, nowMs - refusal.readMs));
  return {
    check: "refused secrets",
    severity: "fail",
    what: `${describeRefusals([refusal])}; the value in use is ${age} old`,
    why: refusal.ended
      ? "what takes it is not started any more after its next end, and not after a reboot"
      : "when this has stood for a quarter of an hour, what takes it is not started any more after its next end",
    fix: `give it back at ${provider.location}, or take it out of the manifest; then orca sync`,
  };
}

function checkClock({ clock, provider }: HostView): Finding {
  const check = "clock";
  const { skewMs } = provider;
  const why = "tokens, certificates and the age of secrets and backups are judged by it";
  if (skewMs !== undefined && Math.abs(skewMs) > LARGEST_SKEW_MS) {
    const what = `this host's clock is ${describeDuration(Math.abs(skewMs))} ${skewMs > 0 ? "behind" : "ahead of"} ${provider.location}'s`;
    return { check, severity: "fail", what, why, fix: "timedatectl set-ntp true" };
  }
  if (clock.keptBy !== undefined) return fine(check, `it is kept by ${clock.keptBy}`);
  return {
    check,
    severity: "warn",
    what: "nothing keeps this host's clock",
    why,
    fix: "apt-get install systemd-timesyncd, or timedatectl set-ntp true",
  };
}
