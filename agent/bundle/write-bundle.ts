// Writes the directory of a bundle or an export, file after file, and the manifest with its signature last: what was cut off has none.

import { mkdir, open, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { Readable } from "node:stream";

import { makeDirectory } from "../host/files/make-directory.ts";
import {
  BUNDLE_NAMESPACE,
  type BundleFile,
  type BundleManifest,
  judgePath,
  MANIFEST_NAME,
  printBundleManifest,
  SIGNATURE_NAME,
} from "./core/bundle-manifest.ts";
import { type OnBytes, writeStream } from "./copy-stream.ts";
import { signText } from "../host/os/ssh-keygen.ts";

/** How it is filled. */
interface WriterOptions {
  onBytes?: OnBytes | undefined;
  /** For this user's eyes alone: backups need not be encrypted. */
  isPrivate?: boolean;
}

/** A new directory that is filled. */
export class BundleWriter {
  readonly directory: string;
  readonly #options: WriterOptions;

  private constructor(directory: string, options: WriterOptions) {
    this.directory = directory;
    this.#options = options;
  }

  /** Makes the directory; throws where something is there already. */
  static async open(directory: string, options: WriterOptions = {}): Promise<BundleWriter> {
    await mkdir(directory, { mode: options.isPrivate === true ? 0o700 : 0o755 }).catch(
      (error: NodeJS.ErrnoException) => {
        const why = error.code === "EEXIST" ? "it is there already: name a new directory" : error.message;
        throw new Error(`make ${directory}: ${why}`, { cause: error });
      },
    );
    return new BundleWriter(directory, options);
  }

  /** Writes one file. Nothing is written over. */
  async add(path: string, content: AsyncIterable<Uint8Array> | Uint8Array | string): Promise<BundleFile> {
    const wrong = judgePath(path);
    if (wrong !== undefined) throw new Error(`write ${JSON.stringify(path)} into the bundle: ${wrong}`);
    const { onBytes, isPrivate = false } = this.#options;
    const full = join(this.directory, path);
    await makeDirectory(dirname(full), 0o755);
    const pieces =
      typeof content === "string" || content instanceof Uint8Array ? Readable.from([Buffer.from(content)]) : content;
    return { path, ...(await writeStream(full, pieces, { onBytes, mode: isPrivate ? 0o600 : 0o644 })) };
  }

  /** Writes the manifest, and its signature where there is a key. */
  async seal(manifest: BundleManifest, keyFile: string | undefined): Promise<void> {
    const text = printBundleManifest(manifest);
    const signature = keyFile === undefined ? undefined : await signText(keyFile, BUNDLE_NAMESPACE, Buffer.from(text));
    if (signature !== undefined)
      await writeFile(join(this.directory, SIGNATURE_NAME), signature, { flag: "wx", flush: true });
    await writeFile(join(this.directory, MANIFEST_NAME), text, { flag: "wx", flush: true });
    const directory = await open(this.directory);
    try {
      await directory.sync();
    } finally {
      await directory.close();
    }
  }
}
