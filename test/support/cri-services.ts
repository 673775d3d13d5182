import { bytes, field, flag, integer, list, message, text, type Message } from '../../agent/containerd/api/protobuf.ts';
import { imageFsInfo, type Method } from '../../agent/containerd/api/services.ts';

/**
 * What of Kubernetes' Container Runtime Interface is used here, as its api.proto has it (k8s.io/cri-api,
 * pkg/apis/runtime/v1). The names are its own in camel case; test/support/cri-services.test.ts holds the tables to that
 * file.
 */
const nothing = {};

const imageSpec = { image: field(1, text) };

const image = {
  id: field(1, text),
  repoTags: field(2, list(text)),
  repoDigests: field(3, list(text)),
  size: field(4, integer),
  pinned: field(8, flag),
};
export type CriImage = Message<typeof image>;

const count = message({ value: field(1, integer) });
const filesystem = {
  fsId: field(2, message({ mountpoint: field(1, text) })),
  usedBytes: field(3, count),
  inodesUsed: field(4, count),
};

const sandboxConfig = {
  metadata: field(1, message({ name: field(1, text), uid: field(2, text), namespace: field(3, text) })),
  logDirectory: field(3, text),
  linux: field(
    8,
    message({
      cgroupParent: field(1, text),
      securityContext: field(2, message({ namespaceOptions: field(1, message({ network: field(1, integer) })) })),
    }),
  ),
};
/** `network` of a pod that has no network of its own. */
export const NODE = 2;
export type SandboxConfig = Message<typeof sandboxConfig>;

const containerConfig = {
  metadata: field(1, message({ name: field(1, text) })),
  image: field(2, message(imageSpec)),
  command: field(3, list(text)),
  logPath: field(11, text),
};

const containerStatus = {
  id: field(1, text),
  state: field(3, integer),
  exitCode: field(7, integer),
  image: field(8, message(imageSpec)),
  imageRef: field(9, text),
  message: field(11, text),
};
export type ContainerStatus = Message<typeof containerStatus>;
/** `state` of a container. */
export const RUNNING = 1;

const podSandboxId = { podSandboxId: field(1, text) };
const containerId = { containerId: field(1, text) };
const ofImage = { image: field(1, message(imageSpec)) };

function method<const Request extends object, const Response extends object>(
  path: string,
  request: Request,
  response: Response,
): Method<Request, Response> {
  return { path: `/runtime.v1.${path}`, request, response };
}

export const criMethods = {
  /** What the agent asks. */
  imageFolders: imageFsInfo,
  version: method('RuntimeService/Version', nothing, {
    runtimeName: field(2, text),
    runtimeVersion: field(3, text),
    runtimeApiVersion: field(4, text),
  }),
  runPodSandbox: method('RuntimeService/RunPodSandbox', { config: field(1, message(sandboxConfig)) }, podSandboxId),
  removePodSandbox: method('RuntimeService/RemovePodSandbox', podSandboxId, nothing),
  createContainer: method(
    'RuntimeService/CreateContainer',
    {
      podSandboxId: field(1, text),
      config: field(2, message(containerConfig)),
      sandboxConfig: field(3, message(sandboxConfig)),
    },
    containerId,
  ),
  startContainer: method('RuntimeService/StartContainer', containerId, nothing),
  listContainers: method('RuntimeService/ListContainers', nothing, {
    containers: field(1, list(message({ id: field(1, text), imageRef: field(5, text) }))),
  }),
  containerStatus: method('RuntimeService/ContainerStatus', containerId, {
    status: field(1, message(containerStatus)),
  }),
  execSync: method(
    'RuntimeService/ExecSync',
    { containerId: field(1, text), cmd: field(2, list(text)), timeout: field(3, integer) },
    { stdout: field(1, bytes), stderr: field(2, bytes), exitCode: field(3, integer) },
  ),
  listImages: method('ImageService/ListImages', nothing, { images: field(1, list(message(image))) }),
  imageStatus: method('ImageService/ImageStatus', ofImage, { image: field(1, message(image)) }),
  pullImage: method('ImageService/PullImage', ofImage, { imageRef: field(1, text) }),
  removeImage: method('ImageService/RemoveImage', ofImage, nothing),
  imageFsInfo: method('ImageService/ImageFsInfo', nothing, {
    imageFilesystems: field(1, list(message(filesystem))),
  }),
} as const;
