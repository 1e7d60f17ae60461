// What a fake Infisical holds, and what it shows of it to whom: lists of a folder or of all below it, lookups by name, references,
// imports, hidden values, as servers of 2024 and of 2026 were seen to. Only FakeInfisical asks it, once the token is good.

/** What is answered, before it is written. */
export interface Answer {
  status: number;
  body: unknown;
  headers?: Record<string, string>;
}

/** Which generation of servers answers. */
export type Generation = 2024 | 2026;

const HIDDEN = "<hidden-by-infisical>";
const REFERENCE = /\$\{([A-Za-z0-9_.-]+)\}/g;
/** References that lead in a circle end here. */
const DEEPEST = 5;

/** A reference to what this identity may not read; servers of 2026 refuse what holds it. */
class OutOfScope extends Error {}

/** The body of a refusal. */
export function refuse(generation: Generation, statusCode: number, error: string, message: unknown): Answer {
  const reqId = generation === 2026 ? { reqId: `req-${Math.random().toString(36).slice(2)}` } : {};
  return { status: statusCode, body: { ...reqId, statusCode, message, error } };
}

/** One project. */
export class InfisicalVault {
  readonly generation: Generation;
  /** The slug of its one environment. */
  environment = "prod";
  /** Path → value, as somebody wrote it. */
  readonly secrets = new Map<string, string>();
  /** Names that hold a slash, which only old servers let somebody write: folder → name → value. */
  readonly oddNames = new Map<string, Record<string, string>>();
  /** Folders that the identity may read, with all that lies below. */
  scopes = ["/"];
  /** Paths whose values may not be read, only their names. */
  readonly hidden = new Set<string>();
  /** Folder → folders it imports. */
  readonly imports = new Map<string, string[]>();

  constructor(generation: Generation) {
    this.generation = generation;
  }

  /** The secrets of a folder, or with `recursive` also of those below it. */
  list(folder: string, query: URLSearchParams): Answer {
    const expand = query.get("expandSecretReferences") === "true";
    try {
      const refusal = this.#refuseList(folder, query);
      if (refusal !== undefined) return refusal;
      const folders = query.get("recursive") === "true" ? this.#listReadable(folder) : [folder];
      const secrets = folders.flatMap((one) => this.#showFolder(one, expand));
      const imports = folders.flatMap((one) => this.#showImports(one, expand));
      const wants = this.generation === 2026 || query.get("include_imports") === "true";
      return { status: 200, body: { secrets, ...(wants ? { imports } : {}) } };
    } catch (error) {
      if (error instanceof OutOfScope) return this.#refuseReference(error);
      throw error;
    }
  }

  /** One secret by its name; imports are followed for `include_imports` alone, which the SDK does not send here. */
  find(folder: string, name: string, query: URLSearchParams): Answer {
    const isOld = this.generation === 2024;
    if (!this.#mayRead(folder) || (isOld && query.get("environment") !== this.environment))
      return this.#refuse(
        403,
        "PermissionDenied",
        `You are not allowed to ${isOld ? "read" : "describeSecret"} on secrets`,
      );
    if (!this.#folderIsThere(folder) || query.get("environment") !== this.environment)
      return isOld
        ? this.#refuse(404, "NotFound", "Folder not found for the given environment slug & secret path")
        : this.#refuse(
            404,
            "GetSecretByName",
            `Folder with path '${folder}' in environment with slug 'prod' not found`,
          );
    const path = join(folder, name);
    const value = this.secrets.get(path);
    if (value === undefined)
      return this.#refuse(404, "NotFound", isOld ? "Secret not found" : `Secret with name '${name}' not found`);
    try {
      return { status: 200, body: { secret: this.#show(path, value, query.get("expandSecretReferences") === "true") } };
    } catch (error) {
      if (error instanceof OutOfScope) return this.#refuseReference(error);
      throw error;
    }
  }

  #refuseList(folder: string, query: URLSearchParams): Answer | undefined {
    const isOld = this.generation === 2024;
    const isHere = query.get("environment") === this.environment;
    const empty = { status: 200, body: isOld ? { secrets: [] } : { secrets: [], imports: [] } };
    const isKnown = this.#folderIsThere(folder) && isHere;
    if (isOld && !isHere) return this.#refuse(403, "PermissionDenied", "You are not allowed to read on secrets");
    if (!isKnown && !isOld) {
      const message = `Folder with path '${folder}' in environment '${query.get("environment")}' was not found.`;
      return this.#refuse(404, "SecretPathNotFound", message);
    }
    // A list of all below shows what may be read of it, and refuses nothing.
    if (query.get("recursive") === "true") return this.#listReadable(folder).length === 0 ? empty : undefined;
    if (!this.#mayRead(folder))
      return isOld ? this.#refuse(403, "PermissionDenied", "You are not allowed to read on secrets") : empty;
    return isKnown ? undefined : empty;
  }

  #refuseReference({ message }: OutOfScope): Answer {
    const details = [`You do not have permission to read the secret ${message}`];
    const answer = this.#refuse(403, "ForbiddenError", `Failed to expand one or more secret references: ${message}`);
    return { ...answer, body: { ...(answer.body as object), details } };
  }

  #showFolder(folder: string, expand: boolean): object[] {
    const odd = Object.entries(this.oddNames.get(folder) ?? {});
    return [
      ...[...this.secrets].filter(([path]) => folderOf(path) === folder).map((entry) => this.#show(...entry, expand)),
      ...odd.map(([secretKey, secretValue]) => ({ secretKey, secretValue, secretPath: folder, type: "shared" })),
    ];
  }

  /** A server of 2024 leaves out what may not be read; one of 2026 shows that it is imported, with nothing in it. */
  #showImports(folder: string, expand: boolean): object[] {
    return (this.imports.get(folder) ?? []).flatMap((from) => {
      if (!this.#mayRead(from) && this.generation === 2024) return [];
      const secrets = this.#mayRead(from) ? this.#showFolder(from, expand) : [];
      return [{ secretPath: from, environment: this.environment, folderId: "f", secrets }];
    });
  }

  #show(path: string, value: string, expand: boolean): object {
    const secretKey = path.slice(path.lastIndexOf("/") + 1);
    const isHidden = this.hidden.has(path) && this.generation === 2026;
    const stored = store(value);
    const shown = isHidden ? HIDDEN : expand ? this.#expand(stored, folderOf(path), 0) : stored;
    return {
      id: secretKey,
      version: 1,
      type: "shared",
      secretKey,
      secretValue: shown,
      secretPath: folderOf(path),
      ...(this.generation === 2026 ? { secretValueHidden: isHidden } : {}),
    };
  }

  #expand(value: string, folder: string, depth: number): string {
    return value.replaceAll(REFERENCE, (whole, name: string) => {
      const parts = name.split(".");
      const key = parts.at(-1) ?? "";
      const isLocal = parts.length === 1;
      const target = isLocal ? folder : `/${parts.slice(1, -1).join("/")}`;
      const isHere = isLocal || parts[0] === this.environment;
      const found = isHere ? this.secrets.get(join(target, key)) : undefined;
      if (this.generation === 2024)
        return found === undefined || !this.#mayRead(target) || depth > DEEPEST
          ? whole
          : this.#expand(store(found), target, depth + 1);
      if (isHere && !this.#mayRead(target)) throw new OutOfScope(key);
      return found === undefined || depth > DEEPEST ? "" : this.#expand(store(found), target, depth + 1);
    });
  }

  #listReadable(root: string): string[] {
    const all = new Set(["/", ...this.oddNames.keys()]);
    for (const path of [...this.secrets.keys(), ...[...this.imports.keys()].map((folder) => `${folder}/x`)])
      for (let at = folderOf(path); at !== "/"; at = folderOf(at)) all.add(at);
    return [...all].filter((folder) => isBelow(folder, root) && this.#mayRead(folder));
  }

  #mayRead(folder: string): boolean {
    return this.scopes.some((scope) => isBelow(folder, scope));
  }

  #folderIsThere(folder: string): boolean {
    if (folder === "/" || this.imports.has(folder) || this.oddNames.has(folder)) return true;
    return [...this.secrets.keys()].some((path) => path.startsWith(`${folder}/`));
  }

  #refuse(status: number, error: string, message: unknown): Answer {
    return refuse(this.generation, status, error, message);
  }
}

/** What becomes of a value that somebody writes: blanks at both ends are gone, and all but one final newline. */
function store(value: string): string {
  return `${value.trim()}${/\n\s*$/.test(value) ? "\n" : ""}`;
}

function isBelow(folder: string, root: string): boolean {
  return root === "/" || folder === root || folder.startsWith(`${root}/`);
}

function join(folder: string, name: string): string {
  return `${folder === "/" ? "" : folder}/${name}`;
}

function folderOf(path: string): string {
  return path.slice(0, path.lastIndexOf("/")) || "/";
}
