// `orca bundle verify`: is this bundle whole, and by a key of this host's policy? The answer is in the audit log, whatever it is.

import { buildEvidence } from "../../bundle/core/bundle-evidence.ts";
import { describeBundleFault } from "../../bundle/core/bundle-fault.ts";
import { listBundleFiles } from "../../bundle/core/bundle-manifest.ts";
import {
  type BundleReading,
  readBundle,
  readSigned,
  type SignedBundle,
  type TrustedBy,
} from "../../bundle/read-bundle.ts";
import { readPolicy } from "../../host/files/host-files.ts";
import { describeCount } from "../../../shared/text/count.ts";
import { describeSize } from "../../../shared/text/size.ts";
import { EXIT } from "../frame/exit-codes.ts";
import { printFault, printText } from "../frame/terminal.ts";
import { openRecorder, readBundleHost, type Recorder } from "./bundle-host.ts";
import { TransferProgress } from "./transfer-progress.ts";

/** The options of `orca bundle verify`. */
export interface BundleVerifyOptions {
  config: string;
  policy?: string;
}

/** Runs it; answers the exit code. */
export async function verifyBundleCommand(directory: string, options: BundleVerifyOptions): Promise<number> {
  const { trust, recorder } = await openJudge(options);
  try {
    const { signed, faults } = await readWithProgress(directory, trust);
    const lines = faults.map(describeBundleFault);
    await recorder?.record(buildEvidence("bundle-verify", { directory, signed, faults: lines }));
    for (const line of lines) printFault(`orca: ${directory}: ${line}`);
    if (signed === undefined || lines.length > 0) return EXIT.failed;
    printText(describeWhole(directory, signed));
    return EXIT.ok;
  } finally {
    await recorder?.close();
  }
}

async function openJudge({
  config,
  policy,
}: BundleVerifyOptions): Promise<{ trust: TrustedBy; recorder: Recorder | undefined }> {
  if (policy !== undefined) {
    const keys = (await readPolicy(policy)).pinned.bundle_keys;
    return { trust: { keys, policy }, recorder: undefined };
  }
  const host = await readBundleHost(config);
  return { trust: { keys: host.keys, policy: host.policyFile }, recorder: await openRecorder(host) };
}

/** Reads every byte, and shows how far that is. */
export async function readWithProgress(directory: string, trust: TrustedBy): Promise<BundleReading> {
  const { signed } = await readSigned(directory, trust);
  const totalBytes = signed === undefined ? 0 : countBytes(signed);
  const progress = new TransferProgress(process.stderr, { doing: "checking", totalBytes });
  return readBundle(directory, trust, progress.add).finally(() => progress.end());
}

/** How many bytes the files of a bundle have. */
export function countBytes({ manifest }: Pick<SignedBundle, "manifest">): number {
  return listBundleFiles(manifest).reduce((sum, { size }) => sum + size, 0);
}

function describeWhole(directory: string, { manifest, key, mark }: SignedBundle): string {
  const files = listBundleFiles(manifest).length;
  return (
    `${directory} is whole: ${manifest.bundle_id} of ${manifest.created_at} at ${manifest.revision}, ` +
    `${describeCount(files, "file")}, ${describeSize(countBytes({ manifest }))}\nsigned by ${key.fingerprint}; manifest ${mark.sha256}`
  );
}
