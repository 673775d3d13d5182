import { closeSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { RunningProgram } from '../../system/child-process.ts';
import { delay, pause, processMs } from '../../system/clock.ts';
import { messageOf, PreloaderError } from '../../system/errors.ts';
import { isAlive } from '../../system/processes.ts';
import { runTool, startTool } from '../../system/run-tool.ts';

const START_MS = 60_000;
const STOP_MS = 30_000;
const POLL_MS = 50;

/**
 * A dockerd of our own. It shares no data root, socket, mounts or settings with any other, does not touch the network,
 * and ends with us, however we end. So does its containerd, which dockerd has the kernel end in the same way (moby,
 * libcontainerd/supervisor/remote_daemon_linux.go).
 */
export class PrivateDockerd {
  /** In the system's temporary folder, because a unix socket's path may be at most 107 bytes long. */
  readonly #runtime: string;
  readonly #process: RunningProgram;
  #failure: Error | undefined;

  constructor(dataRoot: string) {
    mkdirSync(dataRoot, { mode: 0o710 });
    this.#runtime = mkdtempSync(join(tmpdir(), 'docker-preloader-'));
    const below = (name: string): string => join(this.#runtime, name);
    const config = {
      'data-root': dataRoot,
      'exec-root': below('exec'),
      pidfile: below('pid'),
      hosts: [`unix://${below('sock')}`],
      bridge: 'none',
      iptables: false,
      'storage-driver': 'overlay2',
    };
    writeFileSync(below('daemon.json'), JSON.stringify(config));
    const log = openSync(below('log'), 'w');
    try {
      this.#process = startTool('dockerd', ['--config-file', below('daemon.json')], log, { privateMounts: true });
    } catch (error) {
      rmSync(this.#runtime, { recursive: true, force: true });
      throw error;
    } finally {
      closeSync(log);
    }
    this.#process.once('error', (error) => (this.#failure = error));
  }

  /** Waits until it answers. @throws PreloaderError TOOL_MISSING, or BUILD_FAILED with its last line of output */
  async ready(): Promise<void> {
    const deadline = processMs() + START_MS;
    for (;;) {
      await delay(POLL_MS);
      if (this.#failure !== undefined) throw this.#failure;
      if (this.#process.exitCode !== null || processMs() > deadline) {
        const last = readFileSync(join(this.#runtime, 'log'), 'utf8').trim().split('\n').at(-1) ?? '';
        throw new PreloaderError(
          'BUILD_FAILED',
          `dockerd: expected an answer within ${START_MS / 1000} s, found none; its last words: ${messageOf(last)}`,
        );
      }
      try {
        await this.docker('version');
        return;
      } catch (error) {
        if (error instanceof PreloaderError && error.code === 'TOOL_MISSING') throw error;
      }
    }
  }

  /** Runs a command of the docker client. @throws PreloaderError */
  docker(...args: readonly string[]): Promise<string> {
    return runTool('docker', ['--host', `unix://${join(this.#runtime, 'sock')}`, ...args], 'inherit');
  }

  /** Stops it and waits without the event loop, because it is also called while a signal is ending this process. */
  stop(): void {
    const pid = this.#process.pid;
    if (pid !== undefined && isAlive(pid)) {
      process.kill(pid, 'SIGTERM');
      const deadline = processMs() + STOP_MS;
      while (isAlive(pid) && processMs() < deadline) pause(POLL_MS);
      if (isAlive(pid)) process.kill(pid, 'SIGKILL');
    }
    rmSync(this.#runtime, { recursive: true, force: true });
  }
}
