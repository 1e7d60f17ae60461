// Commands inside containers: for exec probes and for `orca exec`. Given a dockerode instance by engine.ts.

import type { Duplex } from "node:stream";

import { call } from "./call.ts";
import { type DockerExec, EngineError, type ExecOptions, type ExecSession, LONGEST_OUTPUT } from "./reader.ts";
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
    }): Promise<{
      start(options: { hijack?: boolean; stdin?: boolean; Tty?: boolean }): Promise<Duplex>;
      inspect(): Promise<{ ExitCode: number | null }>;
      resize(size: { w: number; h: number }): Promise<unknown>;
    }>;
  };
}

/** Builds the exec half of the port. */
export function createExec(docker: ExecDocker): DockerExec {
  return {
    run: (container, command, timeoutMs) =>
      call("run in container", () => run(docker, { container, command, timeoutMs })),
    open: (container, options) => call("open in container", () => open(docker, container, options)),
  };
}

interface RunRequest {
  container: string;
  command: readonly string[];
  timeoutMs: number;
}

async function run(docker: ExecDocker, request: RunRequest): Promise<{ exitCode: number; output: string }> {
  const exec = await docker
    .getContainer(request.container)
    .exec({ Cmd: [...request.command], AttachStdout: true, AttachStderr: true });
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
  // The engine cannot kill an exec: the process goes on until it ends by itself. The probe has failed all the same.
  if (!ended) throw new EngineError(`run in container: no end within ${request.timeoutMs}ms`, 408);
  const { ExitCode } = await exec.inspect();
  return { exitCode: ExitCode ?? -1, output: output.slice(0, LONGEST_OUTPUT) };
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
  const ended = new Promise<void>((resolve) => {
    stream.on("end", resolve);
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
    close: () => stream.destroy(),
  };
}
