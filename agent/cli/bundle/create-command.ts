// `orca bundle create`: makes a signed bundle on a machine that has the repository, the images and the key. Asks no agent and no network.

import { createBundle, estimateBytes } from "../../bundle/create-bundle.ts";
import { openEngine } from "../../docker/engine.ts";
import { describeCount } from "../../../shared/text/count.ts";
import { describeSize } from "../../../shared/text/size.ts";
import { EXIT } from "../frame/exit-codes.ts";
import { printText } from "../frame/terminal.ts";
import { gatherBundle } from "./gather-bundle.ts";
import { TransferProgress } from "./transfer-progress.ts";

/** The options of `orca bundle create`. */
export interface BundleCreateOptions {
  out: string;
  key: string;
  commit?: string;
  docker: string;
}

/** Runs it; answers the exit code. */
export async function createBundleCommand(specFile: string, options: BundleCreateOptions): Promise<number> {
  const engine = openEngine(options.docker);
  try {
    const input = await gatherBundle({ specFile, commit: options.commit, nowMs: Date.now() }, engine.bundledImages);
    const progress = new TransferProgress(process.stderr, { doing: "writing", totalBytes: estimateBytes(input) });
    const place = { directory: options.out, keyFile: options.key, onBytes: progress.add };
    const manifest = await createBundle(input, engine.bundledImages, place).finally(() => progress.end());
    const { images, models, files } = manifest;
    const size = [
      ...new Map([
        ...images.map((image) => [image.file, image.size] as const),
        ...[...models, ...files].map((file) => [file.path, file.size] as const),
      ]).values(),
    ].reduce((sum, bytes) => sum + bytes, 0);
    printText(
      `${options.out}: ${manifest.bundle_id} at ${manifest.revision} for ${manifest.nodes.join(", ")}: ` +
        `${describeCount(images.length, "image")}, ${describeCount(models.length, "file")} for volumes, ${describeCount(files.length, "other file")}, ${describeSize(size)}`,
    );
    return EXIT.ok;
  } finally {
    engine.close();
  }
}
