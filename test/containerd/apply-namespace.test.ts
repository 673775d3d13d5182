import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, readlinkSync, symlinkSync, unlinkSync } from 'node:fs';
import path from 'node:path';
import { it } from 'node:test';
import { applySteps } from '../../agent/containerd/apply-namespace.ts';
import { Namespace, type NewImage } from '../../agent/containerd/api/containerd-api.ts';
import { GrpcError } from '../../agent/containerd/api/grpc-error.ts';
import { methods, type Descriptor, type ImageRecord } from '../../agent/containerd/api/services.ts';
import { scratch } from '../support/temp-tree.ts';
import { farm } from './made-up.ts';

it('mends links in the place of nothing, of an empty folder and of another link, and passes over a snapshot that has gone', async (t) => {
  const root = scratch(t);
  const at = (name: string): string => path.join(root, 'snapshots', name, 'fs');
  for (const name of ['1', '2', '3']) mkdirSync(path.dirname(at(name)), { recursive: true });
  mkdirSync(at('2'));
  symlinkSync('/elsewhere', at('3'));
  const asked: string[] = [];
  const namespace = new Namespace('moby', ({ path: method }) => {
    asked.push(method);
    return Promise.resolve([]);
  });
  const refused = await applySteps(
    namespace,
    ['1', 'gone', '2', '3'].map((name) => ({ do: 'mend-link', path: at(name), target: `/farm/${name}` }) as const),
    { roots: { snapshots: root, content: root, sharesContent: true }, farm },
  );
  assert.deepEqual(
    ['1', '2', '3'].map((name) => readlinkSync(at(name))),
    ['/farm/1', '/farm/2', '/farm/3'],
  );
  assert.deepEqual(readdirSync(path.join(root, 'snapshots')), ['1', '2', '3']);
  assert.deepEqual([refused.size, asked], [0, []]);
});

it('leaves a name that the user has given to something else, or anew, since the plan was made', async () => {
  const time = { seconds: 1, nanos: 0 };
  const target = (digest: string): Descriptor => ({ mediaType: 'm', digest, size: 1, annotations: new Map() });
  const record = (name: string, more: Partial<ImageRecord> = {}): ImageRecord => ({
    name,
    labels: new Map(),
    target: target('sha256:ours'),
    createdAt: time,
    updatedAt: time,
    ...more,
  });
  const now = [
    record('ours'),
    record('tagged', { target: target('sha256:his') }),
    record('loaded', { updatedAt: { seconds: 2, nanos: 0 } }),
    record('removed-and-tagged', { createdAt: { seconds: 2, nanos: 0 }, updatedAt: { seconds: 2, nanos: 0 } }),
  ];
  const changed: string[] = [];
  const namespace = new Namespace('moby', ((method: unknown, request: { readonly name?: string }) => {
    if (method === methods.getImage) {
      const image = now.find(({ name }) => name === request.name);
      return image === undefined
        ? Promise.reject(new GrpcError('notFound', 'not found'))
        : Promise.resolve([{ image }]);
    }
    if (method === methods.deleteImage) changed.push(`delete ${request.name ?? ''}`);
    if (method === methods.createImage)
      changed.push(`create ${(request as { readonly image: ImageRecord }).image.name}`);
    return Promise.resolve([{}]);
  }) as ConstructorParameters<typeof Namespace>[1]);
  const names = ['ours', 'tagged', 'loaded', 'removed-and-tagged', 'gone'];
  const image = (name: string): NewImage => ({ name, target: target('sha256:newer'), labels: new Map() });
  for (const steps of [
    names.map((name) => ({ do: 'delete-image', before: record(name) }) as const),
    names.map((name) => ({ do: 'replace-image', before: record(name), image: image(name) }) as const),
  ])
    await applySteps(namespace, steps, { roots: { snapshots: '/', content: '/', sharesContent: true }, farm });
  assert.deepEqual(changed, ['delete ours', 'delete ours', 'create gone', 'create ours']);
});

it('links a blob again as often as it is collected before containerd knows it, and takes it for refused where it is not', async (t) => {
  const root = scratch(t);
  const digest = `sha256:${'1'.repeat(64)}`;
  const blob = path.join(root, 'blobs/sha256', '1'.repeat(64));
  for (const [collections, refusals] of [
    [4, 0],
    [0, 2],
  ] as const) {
    let tries = 0;
    const namespace = new Namespace('moby', ((method: unknown) => {
      if (method !== methods.writeContent) return Promise.resolve([{}]);
      tries += 1;
      if (tries > collections + refusals) return Promise.resolve([{}]);
      if (tries <= collections) unlinkSync(blob);
      return Promise.reject(new GrpcError('outOfRange', 'write @150 must occur at current offset 0'));
    }) as ConstructorParameters<typeof Namespace>[1]);
    const steps = [{ do: 'link-blob', digest, sizeBytes: 150, disk: 'dpl-a' } as const];
    const refused = await applySteps(namespace, steps, {
      roots: { snapshots: root, content: root, sharesContent: true },
      farm,
    });
    assert.deepEqual([[...refused.keys()], readlinkSync(blob)], [refusals > 0 ? [digest] : [], farm.blob(digest)]);
  }
});
