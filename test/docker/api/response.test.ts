import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from '../../support/properties.ts';
import { ResponseReader } from '../../../agent/docker/api/response.ts';

const chunked = (parts: readonly string[]): string =>
  `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n${parts.map((part) => `${Buffer.byteLength(part).toString(16)}\r\n${part}\r\n`).join('')}0\r\n\r\n`;
const whole = (text: string): string =>
  `HTTP/1.1 409 Conflict\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(text)}\r\n\r\n${text}`;

/** Reads a text cut into pieces. @returns the response, and what is behind it */
function read(
  text: string,
  cuts: readonly number[],
): { readonly status: number; readonly body: string; readonly rest: string } {
  const reader = new ResponseReader();
  const bytes = Buffer.from(text);
  const at = [0, ...cuts.map((cut) => cut % (bytes.length + 1)).toSorted((a, b) => a - b), bytes.length];
  for (let index = 1; index < at.length; index += 1) {
    const rest = reader.read(bytes.subarray(at[index - 1], at[index]));
    if (rest !== undefined)
      return { ...reader.response(), rest: Buffer.concat([rest, bytes.subarray(at[index])]).toString() };
  }
  throw new Error('expected a whole response');
}

describe('a response of dockerd', () => {
  it('is the same however it is cut, with a length or in chunks', () => {
    fc.assert(
      fc.property(
        fc.array(fc.string({ unit: 'binary', minLength: 1 })),
        fc.array(fc.nat()),
        fc.constantFrom('', 'HTTP/1.1 200'),
        (parts, cuts, behind) => {
          assert.deepEqual(read(`${chunked(parts)}${behind}`, cuts), {
            status: 200,
            body: parts.join(''),
            rest: behind,
          });
          assert.deepEqual(read(`${whole(parts.join(''))}${behind}`, cuts), {
            status: 409,
            body: parts.join(''),
            rest: behind,
          });
        },
      ),
    );
  });

  it('is handed on as it comes, after its head', () => {
    const taken: string[] = [];
    const reader = new ResponseReader((text) => taken.push(text));
    const text = chunked(['{"a":"ä"}\n', 'b']);
    assert.equal(reader.read(Buffer.from(text).subarray(0, 50)), undefined);
    assert.deepEqual(taken[0], '');
    reader.read(Buffer.from(text).subarray(50));
    assert.equal(taken.join(''), '{"a":"ä"}\nb');
    assert.equal(reader.response().body, '');
  });

  it('may have no body, and one to continue before it', () => {
    assert.deepEqual(read('HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n', [7]), {
      status: 201,
      body: '',
      rest: '',
    });
    assert.deepEqual(read('HTTP/1.1 204 No Content\r\n\r\n', []), { status: 204, body: '', rest: '' });
  });

  for (const text of [
    'SSH-2.0-OpenSSH_9.2\r\n\r\n',
    'HTTP/1.1 200 OK\r\n\r\n',
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n',
    'x'.repeat(100_000),
    'HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n' + 'x'.repeat(20_000_000),
    'HTTP/1.1 100 Continue\r\n\r\n'.repeat(20),
  ]) {
    it(`is not ${JSON.stringify(text.slice(0, 60))}`, () =>
      assert.throws(() => new ResponseReader().read(Buffer.from(text)), /expected .*, found/));
  }
});
