import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { emptyLedger } from '../../../agent/overlay2/store/ledger.ts';
import { describeStep, type Step } from '../../../agent/overlay2/plan/steps.ts';
import { ownLayerNames, pinName } from '../../../agent/docker/layer-folders.ts';
import { factsOf, must } from '../../boot/fake-store.ts';

const { id, chains } = factsOf({ layers: ['a'] });
const chain = must(chains[0]);

describe('a step', () => {
  for (const [step, text] of [
    [{ do: 'make-empty-layer' }, /^make the empty layer that base layers name as their lower$/],
    [
      {
        do: 'link-layer',
        chain,
        names: ownLayerNames(chain),
        diffPath: '/d/diff',
        lower: 'l/X',
        label: 'dpl-a',
        replaces: false,
      },
      /^link layer sha256:[0-9a-f]{12} to \/d\/diff$/,
    ],
    [
      { do: 'record-layer', chain, label: 'dpl-a', files: new Map(), tarSplit: undefined, mend: false },
      /^record layer sha256:[0-9a-f]{12} of disk dpl-a$/,
    ],
    [
      { do: 'record-layer', chain, label: 'dpl-a', files: new Map(), tarSplit: undefined, mend: true },
      /^mend the record of layer sha256:[0-9a-f]{12} of disk dpl-a$/,
    ],
    [{ do: 'pin-layer', chain, name: pinName(chain) }, /^pin layer sha256:[0-9a-f]{12}, so that it outlasts a prune$/],
    [{ do: 'unpin-layer', chain, name: pinName(chain) }, /^unpin layer sha256:[0-9a-f]{12}$/],
    [
      { do: 'store-image', own: true, id, label: 'dpl-a', config: Buffer.alloc(0), metadata: new Map() },
      /^store image sha256:[0-9a-f]{12} of disk dpl-a$/,
    ],
    [
      { do: 'write-distribution', path: 'distribution/x', content: '' },
      /^note where registries have a layer: distribution\/x$/,
    ],
    [
      {
        do: 'write-references',
        text: '',
        changes: new Map([
          ['a:1', id],
          ['b:1', undefined],
        ]),
      },
      /^tag a:1 as sha256:[0-9a-f]{12}; untag b:1$/,
    ],
    [{ do: 'remove-image', id }, /^remove image sha256:[0-9a-f]{12}$/],
    [{ do: 'remove-layer', chain, names: ownLayerNames(chain) }, /^remove layer sha256:[0-9a-f]{12}$/],
    [{ do: 'remove-empty-layer' }, /^remove the empty layer$/],
    [{ do: 'remove-distribution', path: 'distribution/x' }, /^remove distribution\/x$/],
    [{ do: 'write-ledger', ledger: emptyLedger, final: true }, /^note in the ledger what is there$/],
    [{ do: 'write-ledger', ledger: emptyLedger, final: false }, /^note in the ledger what will be there$/],
    [{ do: 'remove-ledger' }, /^remove the ledger$/],
  ] as const satisfies readonly (readonly [Step, RegExp])[]) {
    it(`reads in one line: ${text.source}`, () => assert.match(describeStep(step), text));
  }
});
