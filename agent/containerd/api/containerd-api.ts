import { decode, encode, type Message } from './protobuf.ts';
import { hasStatus } from './grpc-error.ts';
import { GrpcConnection } from './grpc.ts';
import {
  COMMIT,
  imageFsInfo,
  methods,
  type ContentInfo,
  type Descriptor,
  type ImageRecord,
  type Method,
  type Plugin,
  type Snapshot,
} from './services.ts';

/**
 * How long one call may take. A commit waits for the disk, and a deletion may wait for containerd's garbage collection.
 */
const CALL_TIMEOUT_MS = 60_000;

/** The snapshotter that is served. */
export const SNAPSHOTTER = 'overlayfs';

export interface NewImage {
  readonly name: string;
  readonly target: Descriptor;
  readonly labels: ReadonlyMap<string, string>;
}

export interface ContentWrite {
  readonly digest: string;
  readonly sizeBytes: number;
  /** Undefined if containerd's store already has the bytes under that digest. */
  readonly content: Buffer | undefined;
  readonly labels: ReadonlyMap<string, string>;
}

/** containerd's API over one connection. Each method throws GrpcError. */
export class Containerd {
  readonly #connection: GrpcConnection;

  private constructor(connection: GrpcConnection) {
    this.#connection = connection;
  }

  /** @param address path of its socket @throws GrpcError unavailable, deadlineExceeded */
  static async open(address: string, timeoutMs: number): Promise<Containerd> {
    return new Containerd(await GrpcConnection.open(address, timeoutMs));
  }

  close(): void {
    this.#connection.close();
  }

  async version(): Promise<string> {
    return (await this.#one(methods.version, {})).version;
  }

  async plugins(): Promise<readonly Plugin[]> {
    return (await this.#one(methods.plugins, {})).plugins;
  }

  /** The ID of a containerd's root. It stays the same when another daemon runs on that root. */
  async uuid(): Promise<string> {
    return (await this.#one(methods.server, {})).uuid;
  }

  async namespaces(): Promise<readonly string[]> {
    return (await this.#one(methods.listNamespaces, {})).namespaces.map(({ name }) => name);
  }

  /** The folders of the snapshotters in which CRI has its images. @throws GrpcError unimplemented if there is no CRI */
  async criImageFolders(): Promise<readonly string[]> {
    const { imageFilesystems } = await this.#one(imageFsInfo, {});
    return imageFilesystems.map(({ fsId }) => fsId?.mountpoint ?? '');
  }

  /**
   * Follows what happens to images, in all namespaces.
   * @param take gets the namespace and the topic of each event, such as `/images/delete` (containerd,
   * core/metadata/images.go)
   * @returns a promise that resolves when the connection ends
   */
  followImages(take: (namespace: string, topic: string) => void): Promise<void> {
    const { path, request, response } = methods.subscribe;
    const filters = ['topic~="^/images/"'];
    return this.#connection.follow(path, encode(request, { filters }), (answer) => {
      const { namespace, topic } = decode(response, answer);
      take(namespace, topic);
    });
  }

  namespace(name: string): Namespace {
    return new Namespace(name, (method, request, headers) => this.#all(method, request, headers));
  }

  async #one<Request extends object, Response extends object>(
    method: Method<Request, Response>,
    request: Partial<Message<Request>>,
  ): Promise<Message<Response>> {
    return onlyOf(method, await this.#all(method, request, {}));
  }

  async #all<Request extends object, Response extends object>(
    { path, request: requestTable, response }: Method<Request, Response>,
    request: Partial<Message<Request>>,
    headers: Readonly<Record<string, string>>,
  ): Promise<Message<Response>[]> {
    const answers = await this.#connection.call(path, encode(requestTable, request), {
      headers,
      timeoutMs: CALL_TIMEOUT_MS,
    });
    return answers.map((answer) => decode(response, answer));
  }
}

type Call = <Request extends object, Response extends object>(
  method: Method<Request, Response>,
  request: Partial<Message<Request>>,
  headers: Readonly<Record<string, string>>,
) => Promise<Message<Response>[]>;

/** One namespace of a containerd, which has images, snapshots, content and leases of its own. */
export class Namespace {
  readonly name: string;
  readonly #call: Call;
  #lease: string | undefined;

  constructor(name: string, call: Call) {
    this.name = name;
    this.#call = call;
  }

  async images(): Promise<readonly ImageRecord[]> {
    return (await this.#one(methods.listImages, {})).images;
  }

  /** @returns undefined if there is none of this name */
  async image(name: string): Promise<ImageRecord | undefined> {
    try {
      return (await this.#one(methods.getImage, { name })).image;
    } catch (error) {
      if (!hasStatus(error, 'notFound')) throw error;
      return undefined;
    }
  }

  async createImage(image: NewImage): Promise<void> {
    await this.#one(methods.createImage, { image: { ...image, createdAt: undefined, updatedAt: undefined } });
  }

  /**
   * Deletes an image's record. A containerd that compares targets does so only if the record still has this one.
   * @param sync whether to wait until all that nothing refers to any more is gone, too
   */
  async deleteImage(name: string, target: Descriptor, sync: boolean): Promise<void> {
    await this.#one(methods.deleteImage, { name, target, sync });
  }

  async snapshots(): Promise<readonly Snapshot[]> {
    const answers = await this.#all(methods.listSnapshots, { snapshotter: SNAPSHOTTER });
    return answers.flatMap(({ info }) => info);
  }

  /** Begins a snapshot. @returns the folder that is to have the layer's files */
  async prepareSnapshot(key: string, parent: string | undefined): Promise<string> {
    const { mounts } = await this.#one(methods.prepareSnapshot, {
      snapshotter: SNAPSHOTTER,
      key,
      parent: parent ?? '',
    });
    const [mount] = mounts;
    const upper = mount?.options.find((option) => option.startsWith('upperdir='))?.slice('upperdir='.length);
    const folder = mount?.type === 'bind' ? mount.source : upper;
    if (folder === undefined)
      throw new Error(`expected a bind or an overlay mount for ${key}, found ${mount?.type ?? 'none'}`);
    return folder;
  }

  async commitSnapshot(key: string, name: string, labels: ReadonlyMap<string, string>): Promise<void> {
    await this.#one(methods.commitSnapshot, { snapshotter: SNAPSHOTTER, key, name, labels });
  }

  async removeSnapshot(key: string): Promise<void> {
    await this.#one(methods.removeSnapshot, { snapshotter: SNAPSHOTTER, key });
  }

  async content(): Promise<readonly ContentInfo[]> {
    return (await this.#all(methods.listContent, {})).flatMap(({ info }) => info);
  }

  /** Adds labels to those that content has. */
  async labelContent(digest: string, labels: ReadonlyMap<string, string>): Promise<void> {
    await this.#one(methods.updateContent, {
      info: { digest, size: 0, labels },
      updateMask: { paths: [...labels.keys()].map((name) => `labels.${name}`) },
    });
  }

  /**
   * Writes content whole, in one message. Without its bytes, it makes content that the store has known to this
   * namespace. The offset is then the size. With an offset of 0, containerd would empty the content and copy it
   * (containerd, plugins/services/content/contentserver, Write).
   */
  async writeContent({ digest, sizeBytes, content, labels }: ContentWrite): Promise<void> {
    await this.#one(methods.writeContent, {
      action: COMMIT,
      ref: `docker-preloader-${digest}`,
      total: sizeBytes,
      expected: digest,
      labels,
      ...(content === undefined ? { offset: sizeBytes } : { data: content }),
    });
  }

  /** Gives up a write that was begun, if there is one. */
  async abortWrite(digest: string): Promise<void> {
    try {
      await this.#one(methods.abortWrite, { ref: `docker-preloader-${digest}` });
    } catch (error) {
      if (!hasStatus(error, 'notFound')) throw error;
    }
  }

  async leases(): Promise<readonly string[]> {
    return (await this.#one(methods.listLeases, {})).leases.map(({ id }) => id);
  }

  /** Makes a lease. What is made from now on is not collected as long as the lease is there. */
  async takeLease(id: string, expires: Date): Promise<void> {
    await this.#one(methods.createLease, { id, labels: new Map([['containerd.io/gc.expire', expires.toISOString()]]) });
    this.#lease = id;
  }

  /**
   * Waits until containerd has collected what nobody needs, in all namespaces.
   * @param id of a lease that is made for this
   */
  async collect(id: string): Promise<void> {
    await this.#one(methods.createLease, { id, labels: new Map() });
    await this.#one(methods.deleteLease, { id, sync: true });
  }

  async deleteLease(id: string): Promise<void> {
    if (id === this.#lease) this.#lease = undefined;
    await this.#one(methods.deleteLease, { id });
  }

  async #one<Request extends object, Response extends object>(
    method: Method<Request, Response>,
    request: Partial<Message<Request>>,
  ): Promise<Message<Response>> {
    return onlyOf(method, await this.#all(method, request));
  }

  #all<Request extends object, Response extends object>(
    method: Method<Request, Response>,
    request: Partial<Message<Request>>,
  ): Promise<Message<Response>[]> {
    return this.#call(method, request, {
      'containerd-namespace': this.name,
      ...(this.#lease === undefined ? {} : { 'containerd-lease': this.#lease }),
    });
  }
}

function onlyOf<Value>({ path }: { readonly path: string }, answers: readonly Value[]): Value {
  const [answer] = answers;
  if (answer === undefined) throw new Error(`${path}: expected an answer, found none`);
  return answer;
}
