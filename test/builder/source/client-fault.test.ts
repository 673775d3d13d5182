import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { clientFault } from '../../../agent/builder/source/client-fault.ts';

const LOG_IN = 'log in with skopeo login, or name a file of that with --authfile';

describe('what skopeo told of a fault that has a cure', () => {
  for (const [name, told, words] of [
    [
      'docker://x/app:1',
      'write /tmp/oci1/blobs/sha256/1: no space left on device',
      'make room beside the output, or in TMPDIR if there is none',
    ],
    [
      'docker://[::1]:5000/app:1',
      'invalid reference format',
      'skopeo takes no addresses of IPv6, but names that lead to them, as /etc/hosts has them',
    ],
    ['docker://x/App:1', 'invalid reference format', undefined],
    ['docker://x/app:1', 'failed to read from destination repository x: 403 (Forbidden)', LOG_IN],
  ] as const)
    it(`says what that is: ${told}, of ${name}`, () =>
      assert.equal(
        clientFault('skopeo', name, told).message,
        `${name}: skopeo: ${told}${words === undefined ? '' : `: ${words}`}`,
      ));
});

describe('what skopeo told when it failed', () => {
  for (const [told, expected] of [
    ['denied: bad credentials Basic ZmxlZXQ6dG9wc2VjcmV0', `denied: bad credentials Basic : ${LOG_IN}`],
    ['denied: Authorization: Bearer eyJhbGciOi.J9-x_y=, go', `denied: Authorization: Bearer , go: ${LOG_IN}`],
    ['denied: bearer abcdefgh/+= came', `denied: bearer  came: ${LOG_IN}`],
    ['denied: basic authentication failed', `denied: basic authentication failed: ${LOG_IN}`],
    ['Get "https://me:secret@host/x?token=secret": EOF', 'Get "https://host/x": EOF: the connection was cut off'],
  ] as const)
    it(`has no credentials in it: ${told}`, () =>
      assert.equal(
        clientFault('skopeo', 'docker://app:1', `time="x" level=fatal msg=${JSON.stringify(told)}\n`).message,
        `docker://app:1: skopeo: ${expected}`,
      ));
});
