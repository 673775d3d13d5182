import { setTimeout as delay } from 'node:timers/promises';
import { GrpcConnection } from '../../agent/containerd/api/grpc.ts';
import { hasStatus } from '../../agent/containerd/api/grpc-error.ts';
import { decode, encode, type Message } from '../../agent/containerd/api/protobuf.ts';
import type { Method } from '../../agent/containerd/api/services.ts';
import { criMethods, NODE, type ContainerStatus, type CriImage, type SandboxConfig } from './cri-services.ts';

const CALL_TIMEOUT_MS = 60_000;

/** A container runtime as kubelet speaks to it. Each method throws GrpcError. */
export class Cri {
  readonly #connection: GrpcConnection;

  private constructor(connection: GrpcConnection) {
    this.#connection = connection;
  }

  /** Connects, and waits until the runtime serves CRI: containerd's socket answers earlier than its plugin. */
  static async open(address: string): Promise<Cri> {
    for (const limit = performance.now() + 60_000; ;) {
      const connection = await GrpcConnection.open(address, 5_000);
      const cri = new Cri(connection);
      try {
        await cri.version();
        return cri;
      } catch (error) {
        cri.close();
        if (!hasStatus(error, 'unavailable', 'unimplemented', 'other') || performance.now() > limit) throw error;
        await delay(50);
      }
    }
  }

  close(): void {
    this.#connection.close();
  }

  version(): Promise<Message<(typeof criMethods)['version']['response']>> {
    return this.#call(criMethods.version, {});
  }

  /** All images, in the order of their first tags. */
  async images(): Promise<readonly CriImage[]> {
    const { images } = await this.#call(criMethods.listImages, {});
    const nameOf = ({ repoTags: [tag], id }: CriImage): string => tag ?? id;
    return images.toSorted((a, b) => (nameOf(a) < nameOf(b) ? -1 : 1));
  }

  /** @param name a tag, a name with a digest, or an image's ID @returns undefined where there is none */
  async image(name: string): Promise<CriImage | undefined> {
    return (await this.#call(criMethods.imageStatus, { image: { image: name } })).image;
  }

  /** @returns what a container is to be created with */
  async pull(name: string): Promise<string> {
    return (await this.#call(criMethods.pullImage, { image: { image: name } })).imageRef;
  }

  async removeImage(name: string): Promise<void> {
    await this.#call(criMethods.removeImage, { image: { image: name } });
  }

  async imageFilesystems(): Promise<Message<(typeof criMethods)['imageFsInfo']['response']>['imageFilesystems']> {
    return (await this.#call(criMethods.imageFsInfo, {})).imageFilesystems;
  }

  /**
   * Starts a pod on the host's network, for which no CNI is needed.
   * @param logDirectory where its containers' output goes
   */
  async runPod(name: string, logDirectory: string): Promise<Pod> {
    const config: SandboxConfig = {
      metadata: { name, uid: `uid-${name}`, namespace: 'default' },
      logDirectory,
      linux: { cgroupParent: '', securityContext: { namespaceOptions: { network: NODE } } },
    };
    const { podSandboxId } = await this.#call(criMethods.runPodSandbox, { config });
    return { id: podSandboxId, config };
  }

  /** Starts a container of an image that is there: nothing is pulled. @returns its ID */
  async start(pod: Pod, name: string, image: string, command: readonly string[]): Promise<string> {
    const { containerId } = await this.#call(criMethods.createContainer, {
      podSandboxId: pod.id,
      config: { metadata: { name }, image: { image }, command, logPath: `${name}.log` },
      sandboxConfig: pod.config,
    });
    await this.#call(criMethods.startContainer, { containerId });
    return containerId;
  }

  async status(containerId: string): Promise<ContainerStatus> {
    const { status } = await this.#call(criMethods.containerStatus, { containerId });
    if (status === undefined) throw new Error(`${containerId}: expected a status, found none`);
    return status;
  }

  /**
   * Runs a command in a container that runs.
   * @returns stdout, without the last line's end
   * @throws Error where it fails
   */
  async exec(containerId: string, ...cmd: readonly string[]): Promise<string> {
    const { stdout, stderr, exitCode } = await this.#call(criMethods.execSync, { containerId, cmd, timeout: 20 });
    if (exitCode !== 0)
      throw new Error(`${cmd.join(' ')}: expected it to succeed, found ${exitCode}: ${String(stderr)}`);
    return stdout.toString('utf8').trimEnd();
  }

  /**
   * Removes what kubelet's collection of images would on a full disk: what no container uses and what is not pinned
   * (kubelet, pkg/kubelet/images/image_gc_manager.go, imagesInEvictionOrder).
   */
  async collectImages(): Promise<void> {
    const { containers } = await this.#call(criMethods.listContainers, {});
    const used = new Set(containers.map(({ imageRef }) => imageRef));
    for (const { id, pinned } of await this.images()) if (!pinned && !used.has(id)) await this.removeImage(id);
  }

  /** Ends a pod, with all that runs in it. */
  async removePod({ id }: Pod): Promise<void> {
    await this.#call(criMethods.removePodSandbox, { podSandboxId: id });
  }

  async #call<Request extends object, Response extends object>(
    { path, request: table, response }: Method<Request, Response>,
    request: Partial<Message<Request>>,
  ): Promise<Message<Response>> {
    const [answer] = await this.#connection.call(path, encode(table, request), {
      headers: {},
      timeoutMs: CALL_TIMEOUT_MS,
    });
    if (answer === undefined) throw new Error(`${path}: expected an answer, found none`);
    return decode(response, answer);
  }
}

interface Pod {
  readonly id: string;
  readonly config: SandboxConfig;
}
