import { PreloaderError } from '../../system/errors.ts';
import { startTool } from '../../system/run-tool.ts';
import type { RunningProgram } from '../../system/child-process.ts';
import { describeSource, type StoreSource } from '../archive/image-source.ts';
import { persist, clientFault } from './client-fault.ts';

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
    const { authFile, insecure } = this.#access;
    const args = [
      'copy',
      '--quiet',
      '--preserve-digests',
      '--remove-signatures',
      ...(authFile === undefined ? [] : [`--src-authfile=${authFile}`]),
      ...(insecure ? ['--src-tls-verify=false'] : []),
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

  /** Ends all that runs. */
  stop(): void {
    for (const child of this.#running) child.kill('SIGKILL');
  }

  async #run(
    tool: 'skopeo' | 'docker',
    args: readonly string[],
    source: string,
    { limitBytes = MAX_TOLD_BYTES, signal }: { readonly limitBytes?: number; readonly signal?: AbortSignal },
  ): Promise<Buffer> {
    const child = startTool(tool, args, 'pipe', { folder: this.#folder });
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
