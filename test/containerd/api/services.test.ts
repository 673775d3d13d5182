import { describe } from 'node:test';
import { methods } from '../../../agent/containerd/api/services.ts';
import { methodTests, type Samples } from '../../support/method-tests.ts';

const labels = new Map([
  ['a.b/c', 'd ü'],
  ['containerd.io/gc.ref.content.l.0', 'sha256:1'],
]);
const target = { mediaType: 'application/a+json', digest: 'sha256:12', size: 2 ** 40 + 1, annotations: labels };
const image = {
  name: 'docker.io/library/app:1',
  labels,
  target,
  createdAt: { seconds: -62_135_596_800, nanos: 0 },
  updatedAt: { seconds: 1_700_000_000, nanos: 999_999_999 },
};
const snapshot = { name: 'sha256:1', parent: 'sha256:2', kind: 3, labels };
const key = { snapshotter: 'overlayfs', key: 'a key' };
const content = { digest: 'sha256:3', size: 300, labels };
const lease = { id: 'docker-preloader-1', labels };
const filters = ['type==a', 'id~="b"'];
const binary = Buffer.from([0, 255, 10, 34, 128]);

/** A value for each field that the tables have. */
const samples: Samples<typeof methods> = {
  version: { request: {}, response: { version: '2.1.9', revision: 'r' } },
  plugins: {
    request: { filters },
    response: {
      plugins: [
        { type: 't', id: 'i', exports: labels, initErr: { code: 5, message: 'not found' } },
        { type: 't', id: 'j', exports: labels, initErr: undefined },
      ],
    },
  },
  server: { request: {}, response: { uuid: 'u' } },
  listNamespaces: { request: { filter: 'f' }, response: { namespaces: [{ name: 'moby', labels }] } },
  listImages: { request: { filters }, response: { images: [image, image] } },
  getImage: { request: { name: 'n' }, response: { image } },
  createImage: { request: { image }, response: { image } },
  deleteImage: { request: { name: 'n', sync: true, target }, response: {} },
  listSnapshots: { request: { snapshotter: 's', filters }, response: { info: [snapshot] } },
  prepareSnapshot: {
    request: { ...key, parent: 'sha256:4', labels },
    response: { mounts: [{ type: 'overlay', source: 'overlay', target: '/t', options: ['ro', 'upperdir=/a'] }] },
  },
  commitSnapshot: { request: { ...key, name: 'n', labels }, response: {} },
  removeSnapshot: { request: key, response: {} },
  listContent: { request: { filters }, response: { info: [content, content] } },
  updateContent: { request: { info: content, updateMask: { paths: ['labels.a'] } }, response: { info: content } },
  writeContent: {
    request: { action: 2, ref: 'r', total: 5, expected: 'sha256:5', offset: 4, data: binary, labels },
    response: { action: 2, offset: 1, total: 2, digest: 'sha256:6' },
  },
  abortWrite: { request: { ref: 'r' }, response: {} },
  subscribe: { request: { filters }, response: { namespace: 'moby', topic: '/images/delete' } },
  createLease: { request: lease, response: { lease } },
  deleteLease: { request: { id: 'i', sync: true }, response: {} },
  listLeases: { request: { filters }, response: { leases: [lease] } },
};

describe("the tables of containerd's API, against its own .proto files", () => {
  methodTests('containerd', methods, samples);
});
