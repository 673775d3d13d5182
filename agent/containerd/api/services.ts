import { bytes, field, flag, integer, list, message, text, texts, type Message } from './protobuf.ts';

/**
 * The part of containerd's API that is used here, as its .proto files have it (containerd, api/services and api/types).
 * The names are theirs in camel case. test/containerd/api/services.test.ts compares the tables with those files.
 */
const timestamp = { seconds: field(1, integer), nanos: field(2, integer) };
const mask = { paths: field(1, list(text)) };
const nothing = {};

const descriptor = {
  mediaType: field(1, text),
  digest: field(2, text),
  size: field(3, integer),
  annotations: field(5, texts),
};
/** Names content. For an image, that is its manifest or index. */
export type Descriptor = Message<typeof descriptor>;

const image = {
  name: field(1, text),
  labels: field(2, texts),
  target: field(3, message(descriptor)),
  createdAt: field(7, message(timestamp)),
  updatedAt: field(8, message(timestamp)),
};
export type ImageRecord = Message<typeof image>;

const mount = {
  type: field(1, text),
  source: field(2, text),
  target: field(3, text),
  options: field(4, list(text)),
};

const snapshot = {
  name: field(1, text),
  parent: field(2, text),
  kind: field(3, integer),
  labels: field(6, texts),
};
export type Snapshot = Message<typeof snapshot>;
/** The `kind` of a snapshot to which nothing is written any more. */
export const COMMITTED = 3;

const contentInfo = { digest: field(1, text), size: field(2, integer), labels: field(5, texts) };
export type ContentInfo = Message<typeof contentInfo>;

const lease = { id: field(1, text), labels: field(3, texts) };

const plugin = {
  type: field(1, text),
  id: field(2, text),
  exports: field(5, texts),
  initErr: field(7, message({ code: field(1, integer), message: field(2, text) })),
};
export type Plugin = Message<typeof plugin>;

const snapshotKey = { snapshotter: field(1, text), key: field(2, text) };

/** The `action` of a write that completes it. */
export const COMMIT = 2;

/** A method of a service, with its request and the messages of its answer. */
export interface Method<Request extends object, Response extends object> {
  readonly path: string;
  readonly request: Request;
  readonly response: Response;
}

function method<const Request extends object, const Response extends object>(
  path: string,
  request: Request,
  response: Response,
): Method<Request, Response> {
  return { path: `/containerd.services.${path}`, request, response };
}

export const methods = {
  version: method('version.v1.Version/Version', nothing, { version: field(1, text), revision: field(2, text) }),
  plugins: method(
    'introspection.v1.Introspection/Plugins',
    { filters: field(1, list(text)) },
    { plugins: field(1, list(message(plugin))) },
  ),
  server: method('introspection.v1.Introspection/Server', nothing, { uuid: field(1, text) }),
  listNamespaces: method(
    'namespaces.v1.Namespaces/List',
    { filter: field(1, text) },
    { namespaces: field(1, list(message({ name: field(1, text), labels: field(2, texts) }))) },
  ),
  listImages: method(
    'images.v1.Images/List',
    { filters: field(1, list(text)) },
    { images: field(1, list(message(image))) },
  ),
  getImage: method('images.v1.Images/Get', { name: field(1, text) }, { image: field(1, message(image)) }),
  createImage: method(
    'images.v1.Images/Create',
    { image: field(1, message(image)) },
    { image: field(1, message(image)) },
  ),
  /** With `target`, only a record that still has it is deleted. containerd before 2.0 ignores it. */
  deleteImage: method(
    'images.v1.Images/Delete',
    { name: field(1, text), sync: field(2, flag), target: field(3, message(descriptor)) },
    nothing,
  ),
  listSnapshots: method(
    'snapshots.v1.Snapshots/List',
    { snapshotter: field(1, text), filters: field(2, list(text)) },
    { info: field(1, list(message(snapshot))) },
  ),
  prepareSnapshot: method(
    'snapshots.v1.Snapshots/Prepare',
    { snapshotter: field(1, text), key: field(2, text), parent: field(3, text), labels: field(4, texts) },
    { mounts: field(1, list(message(mount))) },
  ),
  commitSnapshot: method(
    'snapshots.v1.Snapshots/Commit',
    { snapshotter: field(1, text), name: field(2, text), key: field(3, text), labels: field(4, texts) },
    nothing,
  ),
  removeSnapshot: method('snapshots.v1.Snapshots/Remove', snapshotKey, nothing),
  listContent: method(
    'content.v1.Content/List',
    { filters: field(1, list(text)) },
    { info: field(1, list(message(contentInfo))) },
  ),
  updateContent: method(
    'content.v1.Content/Update',
    { info: field(1, message(contentInfo)), updateMask: field(2, message(mask)) },
    { info: field(1, message(contentInfo)) },
  ),
  writeContent: method(
    'content.v1.Content/Write',
    {
      action: field(1, integer),
      ref: field(2, text),
      total: field(3, integer),
      expected: field(4, text),
      offset: field(5, integer),
      data: field(6, bytes),
      labels: field(7, texts),
    },
    { action: field(1, integer), offset: field(4, integer), total: field(5, integer), digest: field(6, text) },
  ),
  abortWrite: method('content.v1.Content/Abort', { ref: field(1, text) }, nothing),
  subscribe: method(
    'events.v1.Events/Subscribe',
    { filters: field(1, list(text)) },
    { namespace: field(2, text), topic: field(3, text) },
  ),
  createLease: method(
    'leases.v1.Leases/Create',
    { id: field(1, text), labels: field(3, texts) },
    { lease: field(1, message(lease)) },
  ),
  deleteLease: method('leases.v1.Leases/Delete', { id: field(1, text), sync: field(2, flag) }, nothing),
  listLeases: method(
    'leases.v1.Leases/List',
    { filters: field(1, list(text)) },
    { leases: field(1, list(message(lease))) },
  ),
} as const;

const filesystem = { fsId: field(2, message({ mountpoint: field(1, text) })) };

/** A method of CRI, which containerd serves on the same socket (k8s.io/cri-api, pkg/apis/runtime/v1/api.proto). */
export const imageFsInfo = {
  path: '/runtime.v1.ImageService/ImageFsInfo',
  request: nothing,
  response: { imageFilesystems: field(1, list(message(filesystem))) },
} as const satisfies Method<object, object>;
