import type { TarSplit } from '../../disk/read-disk.ts';
import type { ChainID, ImageID } from '../../docker/ids.ts';
import type { OwnLayerNames } from '../../docker/layer-folders.ts';
import type { Ledger } from '../store/ledger.ts';

/** One change to the store. A plan is a list of these, and only apply/apply-steps.ts carries them out. */
export type Step =
  | { readonly do: 'make-empty-layer' }
  | {
      readonly do: 'link-layer';
      readonly chain: ChainID;
      readonly names: OwnLayerNames;
      readonly diffPath: string;
      readonly lower: string;
      readonly label: string;
      /** Whether its folder is whole, and only leads elsewhere. */ readonly replaces: boolean;
    }
  | {
      readonly do: 'record-layer';
      readonly chain: ChainID;
      readonly label: string;
      /** Files of layerdb/sha256/<chain> by name. */
      readonly files: ReadonlyMap<string, string>;
      readonly tarSplit: TarSplit | undefined;
      /** Whether the folder exists, so that its files are replaced one by one: a user's image may stand on it. */
      readonly mend: boolean;
    }
  /** Makes dockerd keep the layer when no image stands on it any more. */
  | { readonly do: 'pin-layer'; readonly chain: ChainID; readonly name: string }
  | { readonly do: 'unpin-layer'; readonly chain: ChainID; readonly name: string }
  | {
      readonly do: 'store-image';
      readonly id: ImageID;
      readonly label: string;
      /** Whether the image is ours. A file of the user's is only mended. */ readonly own: boolean;
      readonly config: Buffer;
      readonly metadata: ReadonlyMap<string, Buffer>;
    }
  | { readonly do: 'write-distribution'; readonly path: string; readonly content: string }
  | {
      readonly do: 'write-references';
      readonly text: string;
      readonly changes: ReadonlyMap<string, ImageID | undefined>;
    }
  | { readonly do: 'remove-image'; readonly id: ImageID }
  | { readonly do: 'remove-layer'; readonly chain: ChainID; readonly names: OwnLayerNames }
  | { readonly do: 'remove-empty-layer' }
  | { readonly do: 'remove-distribution'; readonly path: string }
  | {
      readonly do: 'write-ledger';
      readonly ledger: Ledger;
      readonly final: boolean;
      /**
       * What `write-references` is to write. It is prepared first, so that whoever finds it knows that the names are
       * not given yet.
       */
      readonly names?: string | undefined;
    }
  | { readonly do: 'remove-ledger' };

/** A step in one line, for `plan` and the status. */
export function describeStep(step: Step): string {
  switch (step.do) {
    case 'make-empty-layer':
      return 'make the empty layer that base layers name as their lower';
    case 'link-layer':
      return `link layer ${short(step.chain)} to ${step.diffPath}`;
    case 'record-layer':
      return `${step.mend ? 'mend the record of' : 'record'} layer ${short(step.chain)} of disk ${step.label}`;
    case 'pin-layer':
      return `pin layer ${short(step.chain)}, so that it outlasts a prune`;
    case 'unpin-layer':
      return `unpin layer ${short(step.chain)}`;
    case 'store-image':
      return `store image ${short(step.id)} of disk ${step.label}`;
    case 'write-distribution':
      return `note where registries have a layer: ${step.path}`;
    case 'write-references':
      return [...step.changes]
        .map(([reference, image]) =>
          image === undefined ? `untag ${reference}` : `tag ${reference} as ${short(image)}`,
        )
        .join('; ');
    case 'remove-image':
      return `remove image ${short(step.id)}`;
    case 'remove-layer':
      return `remove layer ${short(step.chain)}`;
    case 'remove-empty-layer':
      return 'remove the empty layer';
    case 'remove-distribution':
      return `remove ${step.path}`;
    case 'write-ledger':
      return step.final ? 'note in the ledger what is there' : 'note in the ledger what will be there';
    case 'remove-ledger':
      return 'remove the ledger';
  }
}

function short(digest: string): string {
  return digest.slice(0, 'sha256:'.length + 12);
}
