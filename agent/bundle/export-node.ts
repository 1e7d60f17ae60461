// Takes the audit log and the backups of a node out of an air gap: copies with a manifest of sums, signed where there is a key. Changes
// nothing on the node. The agent may run meanwhile: the log is copied up to a whole line, and a backup that went away is told.

import { createHash } from "node:crypto";
import { lstat, open, readdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";

import { VERSION } from "../../shared/version.ts";
import { listSegments } from "../host/files/audit-segments.ts";
import { type OnBytes, openPlain } from "./copy-stream.ts";
import { type BundleFile, type BundleManifest, judgePath, printBundleManifest } from "./core/bundle-manifest.ts";
import { BundleWriter } from "./write-bundle.ts";

/** What to copy, and where to. */
export interface ExportRequest {
  node: string;
  /** The audit log. */
  auditPath: string;
  /** The local repository of backups; undefined where they are left out. */
  backupDir: string | undefined;
  /** A new directory. */
  directory: string;
  /** A private key's file. */
  keyFile: string | undefined;
  nowMs: number;
  onBytes?: OnBytes | undefined;
}

/** What came of it. */
export interface ExportResult {
  manifest: BundleManifest;
  /** The SHA-256 of the manifest. */
  sha256: string;
  /** What was there and was not copied, each with why. */
  skipped: readonly string[];
}

/** Half-written backups, which nobody has published. */
const PARTIAL = ".partial";
const TAIL_BYTES = 1024 * 1024;

/** Copies it. Throws, and leaves nothing, where that is not possible. */
export async function exportNode(request: ExportRequest): Promise<ExportResult> {
  const { node, directory, keyFile, nowMs, onBytes } = request;
  const writer = await BundleWriter.open(directory, { onBytes, isPrivate: true });
  try {
    const skipped: string[] = [];
    const files = [...(await addAudit(writer, request)), ...(await addBackups(writer, request, skipped))];
    const manifest: BundleManifest = {
      version: "1.0",
      kind: "export",
      bundle_id: node,
      created_at: new Date(nowMs).toISOString(),
      orca: VERSION,
      revision: "none",
      nodes: [node],
      images: [],
      models: [],
      files,
    };
    await writer.seal(manifest, keyFile);
    const sha256 = createHash("sha256").update(printBundleManifest(manifest)).digest("hex");
    return { manifest, sha256, skipped };
  } catch (error) {
    await rm(directory, { recursive: true, force: true });
    throw error;
  }
}

/** How many bytes that will about be. */
export async function estimateExport({
  auditPath,
  backupDir,
}: Pick<ExportRequest, "auditPath" | "backupDir">): Promise<number> {
  const logs = await Promise.all([...(await listSegments(auditPath)), auditPath].map((path) => lstat(path)));
  const audit = logs.reduce((sum, { size }) => sum + size, 0);
  const backups = backupDir === undefined ? [] : await listBackups(backupDir, []);
  return backups.reduce((sum, { size }) => sum + size, audit);
}

/** The head is read first: whatever is written meanwhile comes after it. */
async function addAudit(writer: BundleWriter, { auditPath }: ExportRequest): Promise<BundleFile[]> {
  const head = await readFile(`${auditPath}.head`).catch(() => undefined);
  const end = await findWholeEnd(auditPath);
  const files = [await writer.add("audit/audit.jsonl", await openPlain(auditPath, end))];
  for (const path of await listSegments(auditPath))
    files.push(await writer.add(`audit/audit.jsonl${path.slice(auditPath.length)}`, await openPlain(path)));
  if (head !== undefined) files.push(await writer.add("audit/audit.jsonl.head", head));
  return files;
}

/** Where the last whole line of a log ends: the agent may be writing the next one. */
async function findWholeEnd(path: string): Promise<number> {
  const file = await open(path);
  try {
    const { size } = await file.stat();
    const start = Math.max(0, size - TAIL_BYTES);
    const tail = Buffer.alloc(size - start);
    const { bytesRead } = await file.read(tail, 0, tail.length, start);
    return start + tail.subarray(0, bytesRead).lastIndexOf(0x0a) + 1;
  } finally {
    await file.close();
  }
}

async function addBackups(
  writer: BundleWriter,
  { backupDir }: ExportRequest,
  skipped: string[],
): Promise<BundleFile[]> {
  if (backupDir === undefined) return [];
  const files: BundleFile[] = [];
  for (const { path } of await listBackups(backupDir, skipped)) {
    // Its retention may have removed it since.
    const content = await openPlain(join(backupDir, path)).catch((error: NodeJS.ErrnoException) => {
      skipped.push(`${path}: ${error.code ?? error.message}`);
      return undefined;
    });
    if (content !== undefined) files.push(await writer.add(`backups/${path}`, content));
  }
  return files;
}

async function listBackups(root: string, skipped: string[]): Promise<{ path: string; size: number }[]> {
  const found: { path: string; size: number }[] = [];
  const walk = async (below: string): Promise<void> => {
    const entries = await readdir(join(root, below), { withFileTypes: true }).catch((error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT") return [];
      throw error;
    });
    for (const entry of entries.toSorted((left, right) => (left.name < right.name ? -1 : 1))) {
      const path = below === "" ? entry.name : `${below}/${entry.name}`;
      const wrong = judgePath(path);
      if (wrong !== undefined) skipped.push(`${JSON.stringify(path)}: ${wrong}`);
      else if (entry.isDirectory()) await walk(path);
      else if (!entry.isFile()) skipped.push(`${path}: it is no plain file`);
      else if (!entry.name.endsWith(PARTIAL))
        found.push({ path, size: (await lstat(join(root, path)).catch(() => undefined))?.size ?? 0 });
    }
  };
  await walk("");
  return found;
}
