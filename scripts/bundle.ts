// Makes the production bundle: `npm run bundle` → dist/, or `-- --out DIR`. One entry and lazily loaded chunks, so that the daemon loads only
// what it uses; and the thread that encrypts backups, which is started by its own file. What dockerode drags in for ssh:// engines and
// BuildKit is left out: Orca speaks to a unix socket alone.

import { cpSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { basename, dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

import { build, type Plugin } from "esbuild";

import { describeLicences, listPackages } from "./bundle-licences.ts";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");

/** Where a bundle goes and what it is for. */
export interface BundleOptions {
  out: string;
  /** koffi's native module, where it is not this machine's. */
  native?: string;
  /** Packages that are shipped beside it, for their licences: the Node that runs it. */
  beside?: readonly string[];
  /** What `orca --version` says beside the version: the commit. */
  build?: string;
}

/** What a bundle holds. */
export interface Bundle {
  /** The directories of all packages whose code is in it or beside it. */
  packages: readonly string[];
  /** Bytes of JavaScript, and in how many files. */
  bytes: number;
  files: number;
}

/** Modules that no code path of Orca reaches. Touching one is a fault and says so. */
const UNREACHED =
  /^(ssh2|@grpc\/grpc-js|@grpc\/proto-loader|protobufjs|cpu-features|tar-fs|@balena\/dockerignore|\.\/session|\.\/buildkit|\.\/ssh)$/;

/** What of a package runs, and its licence. */
const RUNS = /(\.c?js|\/package\.json|\/LICENSE\.txt)$/;

const leaveOut: Plugin = {
  name: "leave-out",
  setup(bundle) {
    bundle.onResolve({ filter: UNREACHED }, ({ path, importer }) =>
      /node_modules\/(dockerode|docker-modem)\//.test(importer) ? { path, namespace: "left-out" } : undefined,
    );
    bundle.onLoad({ filter: /.*/, namespace: "left-out" }, ({ path }) => ({
      contents: `module.exports = () => { throw new Error(${JSON.stringify(`${path} is not part of this bundle`)}); };`,
    }));
  },
};

/**
 * An ES import of node:http reads each of its exports, also those that load what is behind `fetch` once they are read: megabytes of
 * memory that the agent does not use. `require` reads none.
 */
const requireHttp: Plugin = {
  name: "require-http",
  setup(bundle) {
    bundle.onResolve({ filter: /^(node:)?http$/ }, ({ path, kind }) =>
      kind === "require-call" ? undefined : { path, namespace: "required" },
    );
    bundle.onLoad({ filter: /.*/, namespace: "required" }, () => ({
      contents: 'module.exports = require("node:http");',
    }));
  },
};

/**
 * Makes a bundle. The same commit gives the same bytes, wherever it lies and wherever the bundle goes.
 * @returns what it holds; throws where a file cannot be bundled or a package names no licence
 */
export async function makeBundle({
  out,
  native = findNative(),
  beside = [],
  build: named,
}: BundleOptions): Promise<Bundle> {
  const result = await build({
    entryPoints: {
      orca: join(root, "agent", "main.ts"),
      "seal-worker": join(root, "agent", "backup", "seal-worker.ts"),
    },
    // Paths in the source maps are relative to this directory, which is always the same: nothing is written by esbuild itself.
    absWorkingDir: root,
    outdir: join(root, "dist"),
    write: false,
    outExtension: { ".js": ".mjs" },
    bundle: true,
    splitting: true,
    minify: true,
    keepNames: true,
    // For a stack in a report of a fault; Node reads them only where it is told to. The sources themselves are in Git.
    sourcemap: "linked",
    sourcesContent: false,
    format: "esm",
    platform: "node",
    target: "node24",
    define: named === undefined ? {} : { ORCA_BUILD: JSON.stringify(named) },
    // Native: shipped beside the bundle as it is.
    external: ["koffi"],
    banner: {
      js: 'import { createRequire as orcaCreateRequire } from "node:module"; const require = orcaCreateRequire(import.meta.url);',
    },
    plugins: [leaveOut, requireHttp],
    metafile: true,
    logLevel: "warning",
  });
  rmSync(out, { recursive: true, force: true });
  mkdirSync(out, { recursive: true });
  for (const { path, contents } of result.outputFiles) writeFileSync(join(out, basename(path)), contents);
  shipPages(out);
  const koffi = shipKoffi(out, native);
  const outputs = Object.entries(result.metafile.outputs).filter(([path]) => path.endsWith(".mjs"));
  const held = outputs.flatMap(([, { inputs }]) =>
    Object.entries(inputs).flatMap(([file, { bytesInOutput }]) => (bytesInOutput > 0 ? [resolve(root, file)] : [])),
  );
  const packages = [...listPackages(held), koffi, native, ...beside];
  cpSync(join(root, "LICENSE"), join(out, "LICENSE"));
  writeFileSync(join(out, "THIRD-PARTY-LICENSES.txt"), describeLicences(packages));
  const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { version: string };
  writeFileSync(join(out, "package.json"), `${JSON.stringify({ name: "orca", version, type: "module" })}\n`);
  return { packages, bytes: outputs.reduce((sum, [, output]) => sum + output.bytes, 0), files: outputs.length };
}

function isDirectory(path: string): boolean {
  return statSync(path).isDirectory();
}

/** The pages of `orca help`: read from beside the program, and by people with any pager. */
function shipPages(out: string): void {
  const from = join(root, "agent", "help");
  cpSync(from, join(out, "help"), { recursive: true, filter: (path) => path === from || path.endsWith(".md") });
}

/** koffi's native module for this machine. */
function findNative(): string {
  const require = createRequire(import.meta.url);
  return dirname(require.resolve(`@koromix/koffi-${process.platform}-${process.arch}/package.json`));
}

/** koffi is loaded from beside the bundle: its JavaScript and the one native module of the platform. Answers where koffi comes from. */
function shipKoffi(out: string, native: string): string {
  const koffi = dirname(createRequire(import.meta.url).resolve("koffi"));
  cpSync(koffi, join(out, "node_modules", "koffi"), {
    recursive: true,
    // What it is compiled from stays behind; some of its JavaScript lies beside that.
    filter: (path) =>
      !/\/koffi\/(vendor|doc|lib\/native|cnoke\.cjs)(\/|$)/.test(path) && (isDirectory(path) || RUNS.test(path)),
  });
  // By its own name, which koffi looks for: where it was fetched for another machine, its directory has another.
  const { name } = JSON.parse(readFileSync(join(native, "package.json"), "utf8")) as { name: string };
  cpSync(native, join(out, "node_modules", name), { recursive: true });
  return koffi;
}

if (import.meta.main) {
  const { values } = parseArgs({ options: { out: { type: "string", default: join(root, "dist") } } });
  const { bytes, files } = await makeBundle({ out: values.out });
  console.log(`dist/orca.mjs: ${files} files, ${Math.round(bytes / 1024)} KiB`);
}
