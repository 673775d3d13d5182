import assert from 'node:assert/strict';
import { it } from 'node:test';
import { familiarName, furtherNames, nameWithoutTag } from '../../agent/containerd/record-names.ts';
import { fullName } from '../../agent/docker/reference.ts';

const digest = `sha256:${'1'.repeat(64)}`;

const names: Readonly<Record<string, string>> = {
  'app:1': 'docker.io/library/app:1',
  'me/app:1': 'docker.io/me/app:1',
  'ghcr.io/me/app:1': 'ghcr.io/me/app:1',
  'localhost/app:1': 'localhost/app:1',
  'localhost:5000/app:1': 'localhost:5000/app:1',
  'registry:5000/a/b:1': 'registry:5000/a/b:1',
  'Registry/app:1': 'Registry/app:1',
  '[::1]:5000/app:1': '[::1]:5000/app:1',
  [`app@${digest}`]: `docker.io/library/app@${digest}`,
};
for (const [familiar, full] of Object.entries(names))
  it(`${familiar} is ${full}`, () => {
    assert.equal(fullName(familiar), full);
    assert.equal(familiarName(full), familiar);
  });

it('an image without its tag has the name that dockerd would give it, or elsewhere its digest', () => {
  assert.equal(nameWithoutTag('moby', 'docker.io/library/app:1', digest), `moby-dangling@${digest}`);
  assert.equal(nameWithoutTag('default', 'registry:5000/app:1', digest), `registry:5000/app@${digest}`);
  assert.equal(nameWithoutTag('default', `app@${digest}`, digest), `app@${digest}`);
});

it('in the namespace of Kubernetes an image has three names, or two without a tag', () => {
  const target = { mediaType: '', digest, size: 1, annotations: new Map<string, string>() };
  const config = `sha256:${'2'.repeat(64)}`;
  assert.deepEqual(furtherNames('k8s.io', 'registry:5000/app:1', target, config), [
    `registry:5000/app@${digest}`,
    config,
  ]);
  assert.deepEqual(furtherNames('k8s.io', `registry:5000/app@${digest}`, target, config), [config]);
  assert.deepEqual(furtherNames('moby', 'registry:5000/app:1', target, config), []);
  assert.deepEqual(furtherNames('k8s.io', config, target, config), []);
});
