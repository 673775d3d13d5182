import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { PreloaderError } from '../../system/errors.ts';
import { pathOf, startTool } from '../../system/run-tool.ts';
import type { RunningProgram } from '../../system/child-process.ts';
import { describeSource, type StoreSource } from '../archive/image-source.ts';
import { persist, clientFault } from './client-fault.ts';
import { watchSilence, type Patience, type Talk } from './silence.ts';

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

interface RunLimits {
  /** Of what it prints. */
  readonly limitBytes?: number;
  /** Of each file that it writes. */
  readonly maxFileBytes?: number;
}

/** How far a copy has come. */
interface CopyProgress {
  /** Is called when it begins, and when it begins anew. */
  readonly onBegin: () => void;
  readonly onBytes: (bytes: number) => void;
}

/** How long registries may be silent, in milliseconds. */
export interface TalkLimits {
  /** Until one is asked again. */
  readonly silenceMs: number;
  /** For what one does with a disk when it has all of it, such as to copy it to where it belongs. */
  readonly takenMs: number;
}

/** Where a registry answers 429, skopeo waits for up to a minute (containers/image, docker_client.go). */
const TALK_LIMITS: TalkLimits = { silenceMs: 70_000, takenMs: 5 * 60_000 };
/** For what is small, however often skopeo waits. */
const INSPECT_TIMEOUT = '5m';
/** skopeo has no other place for signatures of an image whose manifest stays as it is. */
const AS_IT_IS = ['copy', '--quiet', '--preserve-digests', '--remove-signatures'] as const;
/** So much of what skopeo tells is kept. */
const MAX_TOLD_BYTES = 64 * 1024;

/**
 * The processes of skopeo and docker that a build starts. None of them outlives it, and credentials are never among
 * their arguments.
 */
export class ImageClients {
  readonly #folder: string;
  readonly #access: RegistryAccess;
  readonly #tell: (text: string) => void;
  readonly #limits: TalkLimits;
  readonly #running = new Set<RunningProgram>();

  /**
   * @param folder where it runs, and makes its temporary files
   * @param tell gets what is tried again, and what is waited for
   */
  constructor(folder: string, access: RegistryAccess, tell: (text: string) => void, limits = TALK_LIMITS) {
    this.#folder = folder;
    this.#tell = tell;
    this.#access = access;
    this.#limits = limits;
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
    return await persist(async () => await this.#talk(args, name, { limitBytes }), this.#tell);
  }

  /**
   * Copies an image from one registry to another as it is.
   * @param name what the image is called in messages
   * @throws PreloaderError
   */
  async copy(name: string, { from, to, toAuthFile }: RegistryCopy): Promise<void> {
    const args = [
      ...AS_IT_IS,
      ...this.#accessTo('src'),
      '--dest-tls-verify=false',
      `--dest-authfile=${toAuthFile}`,
      from,
      to,
    ];
    await this.#talk(args, name);
  }

  /**
   * Makes an archive as of `docker save` in the folder. A Docker is asked by its own client, which knows how to reach
   * it, and talks to each version: skopeo of Debian 12 does not talk to Docker 25 or later.
   * @throws PreloaderError
   */
  async save(source: StoreSource, file: string): Promise<void> {
    const { store, text, reference } = source;
    const name = describeSource(source);
    if (store === 'docker') return void (await this.#run('docker', ['save', '--output', file, text], name));
    const to = `docker-archive:${file}${reference === undefined ? '' : `:${reference}`}`;
    await this.#run('skopeo', ['copy', '--quiet', '--remove-signatures', text, to], name);
  }

  /** How a registry is reached, as options of a copy of which it is the one end. */
  #accessTo(end: 'src' | 'dest'): string[] {
    const { authFile, insecure } = this.#access;
    return [
      ...(authFile === undefined ? [] : [`--${end}-authfile=${authFile}`]),
      ...(insecure ? [`--${end}-tls-verify=false`] : []),
    ];
  }

  /**
   * Puts an archive of the folder into a registry, with the digests that it has.
   * @param layerBytes of its layers: so much is written to unpack it, and once more to the registry
   * @throws PreloaderError
   */
  async push(archive: string, to: string, layerBytes: number, { onBegin, onBytes }: CopyProgress): Promise<void> {
    const args = ['copy', '--quiet', '--preserve-digests', ...this.#accessTo('dest'), `oci-archive:${archive}`, to];
    const patience = (written: number): Patience =>
      written < 2 * layerBytes
        ? { limitMs: this.#limits.silenceMs, isAskedAgain: true }
        : { limitMs: this.#limits.takenMs, isAskedAgain: false };
    await persist(async () => {
      onBegin();
      await this.#talk(args, to, { patience, onWritten: onBytes });
    }, this.#tell);
  }

  /**
   * Brings an image as it is: `manifest.json`, and each blob under its digests.
   * @param into a folder that is made below the one where skopeo runs
   * @param maxFileBytes no file that skopeo writes may be larger
   * @throws PreloaderError
   */
  async fetch(from: string, into: string, maxFileBytes: number, { onBegin, onBytes }: CopyProgress): Promise<void> {
    const args = [...AS_IT_IS, ...this.#accessTo('src'), from, `dir:${into}`];
    await persist(async () => {
      rmSync(join(this.#folder, into), { recursive: true, force: true });
      onBegin();
      await this.#talk(args, from, { maxFileBytes, onWritten: onBytes });
    }, this.#tell);
  }

  /** Ends all that runs. */
  stop(): void {
    for (const child of this.#running) child.kill('SIGKILL');
  }

  /** Runs skopeo for as long as a registry goes on. */
  async #talk(
    args: readonly string[],
    name: string,
    {
      patience = () => ({ limitMs: this.#limits.silenceMs, isAskedAgain: true }),
      onWritten,
      ...limits
    }: RunLimits & Partial<Pick<Talk, 'patience' | 'onWritten'>> = {},
  ): Promise<Buffer> {
    return await this.#run('skopeo', args, name, limits, { name, patience, onWritten });
  }

  async #run(
    tool: 'skopeo' | 'docker',
    args: readonly string[],
    source: string,
    { limitBytes = MAX_TOLD_BYTES, maxFileBytes }: RunLimits = {},
    talk?: Talk,
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
    let fault: PreloaderError | undefined;
    const endWatch =
      talk === undefined || child.pid === undefined
        ? undefined
        : watchSilence(child.pid, talk, this.#tell, (found) => {
            fault = found;
            end();
          });
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
      if (fault !== undefined) throw fault;
      if (exitCode !== 0) throw clientFault(tool, source, told);
      return Buffer.concat(printed);
    } finally {
      endWatch?.();
      this.#running.delete(child);
    }
  }
}
