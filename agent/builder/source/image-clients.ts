import { lstatSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { every } from '../../system/clock.ts';
import { PreloaderError } from '../../system/errors.ts';
import { namesIn } from '../../system/files.ts';
import { pathOf, startTool } from '../../system/run-tool.ts';
import type { RunningProgram } from '../../system/child-process.ts';
import { describeSource, type StoreSource } from '../archive/image-source.ts';
import { persist, clientFault } from './client-fault.ts';
import { Stall } from './stall.ts';

/** How registries are talked to. */
export interface RegistryAccess {
  /** A file of `skopeo login`, by its whole path; undefined for those where skopeo looks. */
  readonly authFile: string | undefined;
  /** Whether registries without TLS, or with a certificate that nobody vouches for, will do. */
  readonly insecure: boolean;
}

/** Where the registry is, and what is in it. */
interface RegistryCopy {
  readonly from: string;
  /** The registry that gets it, and the file with the credentials for that. */
  readonly to: string;
  readonly toAuthFile: string;
}

interface FetchOptions {
  readonly maxFileBytes: number;
  readonly onBytes: (bytes: number) => void;
  readonly stallMs?: number;
}

const STALL_MS = 60_000;
/** How often it is looked how much has come. */
const LOOK_MS = 500;
/** For what is small. */
const INSPECT_TIMEOUT = '5m';
/** So much of what skopeo tells is kept. */
const MAX_TOLD_BYTES = 64 * 1024;

/** The processes of skopeo and docker that a build starts. None of them outlives it, and credentials are never among their arguments. */
export class ImageClients {
  readonly #folder: string;
  readonly #access: RegistryAccess;
  readonly #tell: (text: string) => void;
  readonly #running = new Set<RunningProgram>();

  /**
   * @param folder where it runs, and makes its temporary files
   * @param tell gets what is tried again
   */
  constructor(folder: string, access: RegistryAccess, tell: (text: string) => void) {
    this.#folder = folder;
    this.#tell = tell;
    this.#access = access;
  }

  /**
   * A manifest or index as the registry has it, or the configuration of an image.
   * @param name what the image is called in messages
   * @throws PreloaderError
   */
  async inspect(what: 'manifest' | 'config', image: string, name: string, limitBytes: number): Promise<Buffer> {
    const { authFile, insecure } = this.#access;
    const args = [
      `--command-timeout=${INSPECT_TIMEOUT}`,
      'inspect',
      '--raw',
      ...(what === 'config' ? ['--config'] : []),
      ...(authFile === undefined ? [] : [`--authfile=${authFile}`]),
      ...(insecure ? ['--tls-verify=false'] : []),
      image,
    ];
    return await persist(async () => await this.#run('skopeo', args, name, { limitBytes }), this.#tell);
  }

  /**
   * Copies an image from one registry to another as it is.
   * @param name what the image is called in messages
   * @param signal ends it
   * @throws PreloaderError
   */
  async copy(name: string, { from, to, toAuthFile }: RegistryCopy, signal: AbortSignal): Promise<void> {
    const args = [
      'copy',
      '--quiet',
      '--preserve-digests',
      '--remove-signatures',
      ...this.#accessTo('src'),
      '--dest-tls-verify=false',
      `--dest-authfile=${toAuthFile}`,
      from,
      to,
    ];
    await this.#run('skopeo', args, name, { signal });
  }

  /**
   * Makes an archive as of `docker save` in the folder. A Docker is asked by its own client, which knows how to reach it,
   * and talks to each version: skopeo of Debian 12 does not talk to Docker 25 or later.
   * @throws PreloaderError
   */
  async save(source: StoreSource, file: string): Promise<void> {
    const { store, text, reference } = source;
    const name = describeSource(source);
    if (store === 'docker') return void (await this.#run('docker', ['save', '--output', file, text], name, {}));
    const to = `docker-archive:${file}${reference === undefined ? '' : `:${reference}`}`;
    await this.#run('skopeo', ['copy', '--quiet', '--remove-signatures', text, to], name, {});
  }

  /** How a registry is reached, as options of a copy of which it is the one end. */
  #accessTo(end: 'src' | 'dest'): string[] {
    const { authFile, insecure } = this.#access;
    return [
      ...(authFile === undefined ? [] : [`--${end}-authfile=${authFile}`]),
      ...(insecure ? [`--${end}-tls-verify=false`] : []),
    ];
  }

  /** Puts an archive of the folder into a registry, with the digests that it has. @throws PreloaderError */
  async push(archive: string, to: string): Promise<void> {
    const args = ['copy', '--quiet', '--preserve-digests', ...this.#accessTo('dest'), `oci-archive:${archive}`, to];
    await persist(async () => await this.#run('skopeo', args, to, {}), this.#tell);
  }

  /**
   * Brings an image as it is: `manifest.json`, and each blob under its digits.
   * @param into a folder that is made below the one where skopeo runs
   * @param options.maxFileBytes no file that skopeo writes may be larger
   * @param options.onBytes is told how many bytes have come since it was last
   * @param options.stallMs a registry that sends nothing for so long is asked again
   * @throws PreloaderError
   */
  async fetch(from: string, into: string, { maxFileBytes, onBytes, stallMs = STALL_MS }: FetchOptions): Promise<void> {
    const folder = join(this.#folder, into);
    const args = [
      'copy',
      '--quiet',
      '--preserve-digests',
      '--remove-signatures',
      ...this.#accessTo('src'),
      from,
      `dir:${into}`,
    ];
    await persist(async () => {
      rmSync(folder, { recursive: true, force: true });
      const stall = new Stall(from, stallMs);
      let before = 0;
      const look = (): void => {
        const now = bytesIn(folder);
        if (now > before) {
          stall.postpone();
          onBytes(now - before);
        }
        before = now;
      };
      const endLook = every(Math.min(LOOK_MS, stallMs / 4), look);
      try {
        await this.#run('skopeo', args, from, { maxFileBytes, signal: stall.signal });
        look();
      } finally {
        endLook();
        stall.end();
      }
    }, this.#tell);
  }

  /** Ends all that runs. */
  stop(): void {
    for (const child of this.#running) child.kill('SIGKILL');
  }

  async #run(
    tool: 'skopeo' | 'docker',
    args: readonly string[],
    source: string,
    {
      limitBytes = MAX_TOLD_BYTES,
      maxFileBytes,
      signal,
    }: { readonly limitBytes?: number; readonly maxFileBytes?: number; readonly signal?: AbortSignal },
  ): Promise<Buffer> {
    const where = { folder: this.#folder };
    // For large files it uses /var/tmp, whatever TMPDIR is (containers/image, internal/tmpdir).
    const words = tool === 'skopeo' ? [`--tmpdir=${this.#folder}`, ...args] : args;
    const child =
      maxFileBytes === undefined
        ? startTool(tool, words, 'pipe', where)
        : startTool('prlimit', [`--fsize=${maxFileBytes}`, '--core=0', pathOf(tool), ...words], 'pipe', where);
    this.#running.add(child);
    const end = (): void => void child.kill('SIGKILL');
    signal?.addEventListener('abort', end);
    try {
      const printed: Buffer[] = [];
      let printedBytes = 0;
      let told = '';
      child.stdout?.on('data', (bytes: Buffer) => {
        printedBytes += bytes.length;
        if (printedBytes > limitBytes) end();
        else printed.push(bytes);
      });
      child.stderr?.on('data', (bytes: Buffer) => (told = `${told}${bytes.toString()}`.slice(-MAX_TOLD_BYTES)));
      const exitCode = await new Promise<number | null>((resolve, reject) => {
        child.once('error', reject);
        child.once('close', resolve);
      });
      if (printedBytes > limitBytes)
        throw new PreloaderError('BUILD_FAILED', `${source}: expected at most ${limitBytes} bytes, found more`);
      signal?.throwIfAborted();
      if (exitCode !== 0) throw clientFault(tool, source, told);
      return Buffer.concat(printed);
    } finally {
      signal?.removeEventListener('abort', end);
      this.#running.delete(child);
    }
  }
}

/** How many bytes the files of a folder have by now; none before it is there. */
function bytesIn(folder: string): number {
  return namesIn(folder).reduce(
    (sum, name) => sum + (lstatSync(join(folder, name), { throwIfNoEntry: false })?.size ?? 0),
    0,
  );
}
