import { describe } from 'node:test';
import { methodTests, type Samples } from './method-tests.ts';
import { criMethods } from './cri-services.ts';

const image = {
  id: 'sha256:1',
  repoTags: ['a:1', 'b:1'],
  repoDigests: ['a@sha256:2'],
  size: 2 ** 40 + 1,
  pinned: true,
};
const ofImage = { image: { image: 'docker.io/library/app:1' } };
const sandbox = {
  metadata: { name: 'n', uid: 'u', namespace: 's' },
  logDirectory: '/logs',
  linux: { cgroupParent: '/pods', securityContext: { namespaceOptions: { network: 2 } } },
};
const pod = { podSandboxId: 'p' };
const container = { containerId: 'c' };
const binary = Buffer.from([0, 255, 10, 34, 128]);

/** A value for each field that the tables have. */
const samples: Samples<typeof criMethods> = {
  imageFolders: { request: {}, response: { imageFilesystems: [{ fsId: { mountpoint: '/m' } }] } },
  version: { request: {}, response: { runtimeName: 'n', runtimeVersion: '1', runtimeApiVersion: 'v1' } },
  runPodSandbox: { request: { config: sandbox }, response: pod },
  removePodSandbox: { request: pod, response: {} },
  createContainer: {
    request: {
      ...pod,
      config: { metadata: { name: 'c' }, ...ofImage, command: ['sleep', '1'], logPath: 'c.log' },
      sandboxConfig: sandbox,
    },
    response: container,
  },
  startContainer: { request: container, response: {} },
  listContainers: { request: {}, response: { containers: [{ id: 'c', imageRef: 'sha256:1' }] } },
  containerStatus: {
    request: container,
    response: { status: { id: 'c', state: 2, exitCode: 137, ...ofImage, imageRef: 'a@sha256:2', message: 'm' } },
  },
  execSync: {
    request: { ...container, cmd: ['cat', '/a'], timeout: 20 },
    response: { stdout: binary, stderr: binary, exitCode: 1 },
  },
  listImages: { request: {}, response: { images: [image, image] } },
  imageStatus: { request: ofImage, response: { image } },
  pullImage: { request: ofImage, response: { imageRef: 'sha256:1' } },
  removeImage: { request: ofImage, response: {} },
  imageFsInfo: {
    request: {},
    response: {
      imageFilesystems: [{ fsId: { mountpoint: '/m' }, usedBytes: { value: 2 ** 40 }, inodesUsed: { value: 3 } }],
    },
  },
};

describe("the tables of Kubernetes' CRI, against its own .proto file", () => {
  methodTests('cri', criMethods, samples);
});
