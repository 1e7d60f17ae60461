// Commands inside containers: for exec probes and for `orca exec`. Given a dockerode instance by engine.ts.

import type { Duplex } from "node:stream";

import { signalInContainer } from "../host/os/container-process.ts";
import { call } from "./call.ts";
import { type DockerExec, EngineError, type ExecOptions, type ExecSession, LONGEST_OUTPUT } from "./reader.ts";
import { type OutputRun, readOutput } from "./split-output.ts";
import { Demultiplexer } from "./streams.ts";

/** The one corner of dockerode that is needed here; only engine.ts knows the rest. */
interface ExecDocker {
  getContainer(id: string): {
    exec(options: {
      Cmd: string[];
      AttachStdin?: boolean;
      AttachStdout: boolean;
      AttachStderr: boolean;
      Tty?: boolean;
      User?: string;
    }): Promise<{
      start(options: { hijack?: boolean; stdin?: boolean; Tty?: boolean }): Promise<Duplex>;
      inspect(): Promise<ExecState>;
      resize(size: { w: number; h: number }): Promise<unknown>;
    }>;
  };
}

/** What the engine says of a command. */
interface ExecState {
  ExitCode: number | null;
  Running?: boolean;
  Pid?: number;
}

/** A command that was told to hang up has so long before it is killed. */
const HANG_UP_MS = 5_000;

/** The exec half of the port, and what one-shot containers need of it besides. */
export interface StreamingExec extends DockerExec {
  /** Runs a program whose output is read as fast as somebody takes it. */
  stream(container: string, command: readonly string[]): Promise<OutputRun>;
}

/** Builds the exec half of the port. */
export function createExec(docker: ExecDocker): StreamingExec {
  // Commands that had their time and could not be ended, by container: beside such a one no other is begun.
  const left = new Map<string, { inspect(): Promise<ExecState> }>();
  return {
    run: (container, command, timeoutMs, user) =>
      call("run in container", () => run(docker, { container, command, timeoutMs, user, left })),
    stream: (container, command) => call("run in container", () => streamOutput(docker, container, command)),
    open: (container, options) => call("open in container", () => open(docker, container, options)),
  };
}

interface RunRequest {
  container: string;
  command: readonly string[];
  timeoutMs: number;
  user: string | undefined;
  left: Map<string, { inspect(): Promise<ExecState> }>;
}

async function run(docker: ExecDocker, request: RunRequest): Promise<{ exitCode: number; output: string }> {
  await refuseBesideLeft(request);
  const exec = await docker.getContainer(request.container).exec({
    Cmd: [...request.command],
    AttachStdout: true,
    AttachStderr: true,
    ...(request.user === undefined ? {} : { User: request.user }),
  });
  const stream = await exec.start({});
  const frames = new Demultiplexer();
  let output = "";
  const ended = await new Promise<boolean>((resolve, reject) => {
    const timer = setTimeout(() => resolve(false), request.timeoutMs);
    const settle = (done: () => void): void => {
      clearTimeout(timer);
      done();
    };
    stream.on("data", (chunk: Buffer) => {
      for (const frame of frames.push(chunk)) {
        if (output.length < LONGEST_OUTPUT) output += frame.chunk.toString("utf8");
      }
    });
    stream.on("end", () => settle(() => resolve(true)));
    stream.on("close", () => settle(() => resolve(true)));
    stream.on("error", (error: Error) => settle(() => reject(error)));
  });
  stream.destroy();
  if (!ended) {
    if (!(await endCommand(request.container, exec, "SIGKILL"))) request.left.set(request.container, exec);
    throw new EngineError(`run in container: no end within ${request.timeoutMs}ms`, 408);
  }
  const { ExitCode } = await exec.inspect();
  return { exitCode: ExitCode ?? -1, output: output.slice(0, LONGEST_OUTPUT) };
}

/** Where the one before had its time, could not be ended and still runs, another one would be one more. */
async function refuseBesideLeft({ container, left }: RunRequest): Promise<void> {
  const before = left.get(container);
  if (before === undefined) return;
  const state = await before.inspect().catch(() => undefined);
  if (state?.Running === true)
    throw new EngineError("run in container: the command before had its time, still runs, and cannot be ended", 408);
  left.delete(container);
}

/**
 * Ends a command. The engine cannot: without this each one that hangs stays until the container's pids are used up.
 * @returns false where it goes on
 */
async function endCommand(
  container: string,
  exec: { inspect(): Promise<ExecState> },
  signal: "SIGHUP" | "SIGKILL",
): Promise<boolean> {
  const { Running: running, Pid: pid = 0 } = await exec.inspect().catch((): ExecState => ({ ExitCode: null }));
  return running === false || signalInContainer(container, pid, signal);
}

/** Who ran it has gone: it is told so as a terminal tells it, and killed when it goes on all the same. */
async function hangUp(container: string, exec: { inspect(): Promise<ExecState> }): Promise<void> {
  await endCommand(container, exec, "SIGHUP");
  setTimeout(() => void endCommand(container, exec, "SIGKILL"), HANG_UP_MS).unref();
}

async function streamOutput(docker: ExecDocker, container: string, command: readonly string[]): Promise<OutputRun> {
  const exec = await docker.getContainer(container).exec({ Cmd: [...command], AttachStdout: true, AttachStderr: true });
  const reading = readOutput(await exec.start({}));
  const ended = (async () => {
    await reading.done;
    const { ExitCode, Running: running } = await exec.inspect();
    // One that goes on has closed its output: what came of it nobody knows.
    return { exitCode: running === true ? -1 : (ExitCode ?? -1), stderr: reading.stderr, outOfMemory: false };
  })();
  ended.catch(() => undefined);
  const cancel = async (): Promise<void> => {
    reading.end();
    await endCommand(container, exec, "SIGKILL");
  };
  return { output: reading.output, ended, cancel };
}

async function open(docker: ExecDocker, container: string, options: ExecOptions): Promise<ExecSession> {
  const exec = await docker.getContainer(container).exec({
    Cmd: [...options.command],
    AttachStdin: true,
    AttachStdout: true,
    AttachStderr: true,
    Tty: options.tty,
  });
  const stream = await exec.start({ hijack: true, stdin: true, Tty: options.tty });
  const frames = new Demultiplexer();
  stream.on("data", (chunk: Buffer) => {
    if (options.tty) options.onChunk(chunk, "stdout");
    else for (const frame of frames.push(chunk)) options.onChunk(frame.chunk, frame.stream);
  });
  let isOver = false;
  const ended = new Promise<void>((resolve) => {
    stream.on("end", () => {
      isOver = true;
      resolve();
    });
    stream.on("close", resolve);
    stream.on("error", () => resolve());
  }).then(async () => (await call("inspect exec", () => exec.inspect())).ExitCode ?? -1);
  return {
    write: (chunk) => void stream.write(chunk),
    endInput: () => void stream.end(),
    resize: async (columns, rows) => {
      await call("resize terminal", () => exec.resize({ w: columns, h: rows }));
    },
    ended,
    close: () => {
      stream.destroy();
      if (!isOver) void hangUp(container, exec);
    },
  };
}
