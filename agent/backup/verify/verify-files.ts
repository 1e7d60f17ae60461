// Proves a backup of files: the image's own tar lists it to its end, and a few of its files come out as they were read.

import type { RestoreBox, RestoreInput, Verdict, VerifyClock } from "./restore-box.ts";
import { Finding, judgeProof, VerifySession } from "./verify-session.ts";
import { describeCount } from "../../../shared/text/count.ts";

const MACHINE = /cannot (?:mkdir|open): (?:no space|disk quota)|cannot write/i;

/** Looks into a backup in a box and says what came of it. Never throws. */
export function verifyFiles(box: RestoreBox, input: RestoreInput, clock: VerifyClock): Promise<Verdict> {
  const session = new VerifySession({ box, input, clock }, MACHINE);
  return judgeProof(box, () => prove(session));
}

async function prove(session: VerifySession): Promise<string> {
  const [file] = session.input.files;
  if (file === undefined) throw new Finding("bad", "it holds nothing");
  const path = session.locate(file.file);
  const { scratch } = session.input;
  // Names go into a file: what a command prints is kept up to a limit, and a name with a line break is written in one line.
  await session.expect("list it", ["tar", "--list", "--verbose", "--file", path, `--index-file=${scratch}/index`]);
  const listed = Number((await session.expect("count it", ["wc", "-l", `${scratch}/index`])).split(" ")[0]);
  const { entries, samples = [] } = file.facts ?? {};
  if (entries !== undefined && listed !== entries)
    throw new Finding("bad", `${describeCount(listed, "entry", "entries")} are in it, and ${entries} were`);
  if (samples.length > 0) await compareSamples(session, path, samples);
  return `listed ${describeCount(listed, "entry", "entries")} and compared ${describeCount(samples.length, "file")} in ${session.took}`;
}

async function compareSamples(
  session: VerifySession,
  path: string,
  samples: readonly { path: string; sha256: string }[],
): Promise<void> {
  const { scratch } = session.input;
  const names = samples.map((sample) => sample.path);
  const extract = ["tar", "--extract", "--file", path, `--directory=${scratch}`, "--no-same-owner", "--", ...names];
  await session.expect("take files out of it", extract);
  for (const sample of samples) {
    const output = await session.expect(`digest of ${sample.path}`, ["sha256sum", "--", `${scratch}/${sample.path}`]);
    if (!output.startsWith(sample.sha256)) throw new Finding("bad", `${sample.path} is not what was read`);
  }
}
