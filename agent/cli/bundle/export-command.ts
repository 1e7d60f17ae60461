// `orca bundle export`: the audit log and the backups of this node, for whoever keeps them outside.

import { estimateExport, exportNode, type ExportRequest } from "../../bundle/export-node.ts";
import { statePath } from "../../host/state-layout.ts";
import { describeCount } from "../../../shared/text/count.ts";
import { describeSize } from "../../../shared/text/size.ts";
import { EXIT } from "../frame/exit-codes.ts";
import { printFault, printText } from "../frame/terminal.ts";
import { openRecorder, readBundleHost } from "./bundle-host.ts";
import { TransferProgress } from "./transfer-progress.ts";

/** The options of `orca bundle export`. */
export interface BundleExportOptions {
  config: string;
  out: string;
  key?: string;
  auditOnly?: boolean;
}

/** Runs it; answers the exit code. */
export async function exportBundleCommand(options: BundleExportOptions): Promise<number> {
  const host = await readBundleHost(options.config);
  const { node, state, backups } = host.config;
  const request: ExportRequest = {
    node,
    auditPath: statePath(state.dir, "audit"),
    backupDir: options.auditOnly === true ? undefined : backups.dir,
    directory: options.out,
    keyFile: options.key,
    nowMs: Date.now(),
  };
  const recorder = await openRecorder(host);
  try {
    const progress = new TransferProgress(process.stderr, {
      doing: "copying",
      totalBytes: await estimateExport(request),
    });
    const done = await exportNode({ ...request, onBytes: progress.add }).finally(() => progress.end());
    const { files, created_at: createdAt } = done.manifest;
    const bytes = files.reduce((sum, { size }) => sum + size, 0);
    const what = { directory: options.out, bundle: node, createdAt, manifest: done.sha256, files: files.length, bytes };
    await recorder.record({ action: "bundle-export", what, result: "ok" });
    for (const line of done.skipped) printFault(`orca: not copied: ${line}`);
    printText(
      `${options.out}: the audit log${request.backupDir === undefined ? "" : " and the backups"} of ${node}: ${describeCount(files.length, "file")}, ${describeSize(bytes)}`,
    );
    printText(`manifest ${done.sha256}${options.key === undefined ? ", not signed" : ""}`);
    return EXIT.ok;
  } finally {
    await recorder.close();
  }
}
