// Makes the production bundle: `npm run bundle` → dist/, or `-- --out DIR`. One entry and lazily loaded chunks, so that the daemon loads only
// what it uses. What dockerode drags in for ssh:// engines and BuildKit is left out: Orca speaks to a unix socket alone.

import { cpSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

import { build, type Plugin } from "esbuild";

import { describeLicences, listPackages } from "./bundle-licences.ts";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const { values } = parseArgs({ options: { out: { type: "string", default: join(root, "dist") } } });
const { out } = values;

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

rmSync(out, { recursive: true, force: true });
mkdirSync(out, { recursive: true });

const result = await build({
  entryPoints: [join(root, "agent", "main.ts")],
  entryNames: "orca",
  outdir: out,
  outExtension: { ".js": ".mjs" },
  bundle: true,
  splitting: true,
  minify: true,
  keepNames: true,
  format: "esm",
  platform: "node",
  target: "node24",
  // Native: shipped beside the bundle as it is.
  external: ["koffi"],
  banner: {
    js: 'import { createRequire as orcaCreateRequire } from "node:module"; const require = orcaCreateRequire(import.meta.url);',
  },
  plugins: [leaveOut, requireHttp],
  metafile: true,
  logLevel: "warning",
});

shipPages();
const beside = shipKoffi();
const held = Object.values(result.metafile.outputs).flatMap(({ inputs }) =>
  Object.entries(inputs).flatMap(([file, { bytesInOutput }]) => (bytesInOutput > 0 ? [file] : [])),
);
shipLicences(held, beside);
const version = (JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { version: string }).version;
writeFileSync(join(out, "package.json"), `${JSON.stringify({ name: "orca", version, type: "module" })}\n`);
const bytes = Object.values(result.metafile.outputs).reduce((sum, output) => sum + output.bytes, 0);
console.log(`dist/orca.mjs: ${Object.keys(result.metafile.outputs).length} files, ${Math.round(bytes / 1024)} KiB`);

function isDirectory(path: string): boolean {
  return statSync(path).isDirectory();
}

/** The pages of `orca help`: read from beside the program, and by people with any pager. */
function shipPages(): void {
  const from = join(root, "agent", "help");
  cpSync(from, join(out, "help"), { recursive: true, filter: (path) => path === from || path.endsWith(".md") });
}

/** koffi is loaded from beside the bundle: its JavaScript and the one native module of this platform. */
function shipKoffi(): string[] {
  const require = createRequire(import.meta.url);
  const koffi = dirname(require.resolve("koffi"));
  const native = dirname(require.resolve(`@koromix/koffi-${process.platform}-${process.arch}/package.json`));
  cpSync(koffi, join(out, "node_modules", "koffi"), {
    recursive: true,
    // What it is compiled from stays behind; some of its JavaScript lies beside that.
    filter: (path) => !/\/koffi\/(vendor|doc|lib\/native)(\/|$)/.test(path) && (isDirectory(path) || RUNS.test(path)),
  });
  cpSync(native, join(out, "node_modules", "@koromix", `koffi-${process.platform}-${process.arch}`), {
    recursive: true,
  });
  return [koffi, native];
}

/** Orca's own licence, and those of what is in the bundle and beside it. */
function shipLicences(inputs: readonly string[], shipped: readonly string[]): void {
  const packages = listPackages(inputs.map((file) => resolve(file)));
  cpSync(join(root, "LICENSE"), join(out, "LICENSE"));
  writeFileSync(join(out, "THIRD-PARTY-LICENSES.txt"), describeLicences([...packages, ...shipped]));
}
