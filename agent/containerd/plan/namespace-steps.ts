import type { ChainID } from '../../docker/ids.ts';
import type { NewImage } from '../api/containerd-api.ts';
import type { ImageRecord } from '../api/services.ts';

/** One change of a namespace. Each can be done again. A plan has them in the order in which they are to be done. */
export type Step =
  /** A layer: a snapshot whose folder is a link to the farm. */
  | { readonly do: 'make-layer'; readonly chain: ChainID; readonly parent: ChainID | undefined; readonly disk: string }
  /** A link of ours that is gone or leads elsewhere. */
  | { readonly do: 'mend-link'; readonly path: string; readonly target: string }
  | {
      readonly do: 'write-content';
      readonly digest: string;
      readonly content: Buffer;
      readonly labels: ReadonlyMap<string, string>;
    }
  /** A layer's bytes, linked to the farm. */
  | { readonly do: 'link-blob'; readonly digest: string; readonly sizeBytes: number; readonly disk: string }
  /** Labels that content lacks, without which containerd would collect what the image needs. */
  | { readonly do: 'label-content'; readonly digest: string; readonly labels: ReadonlyMap<string, string> }
  | { readonly do: 'create-image'; readonly image: NewImage }
  | { readonly do: 'replace-image'; readonly before: ImageRecord; readonly image: NewImage }
  | { readonly do: 'delete-image'; readonly before: ImageRecord }
  /** The lease of a run that was killed. */
  | { readonly do: 'delete-lease'; readonly id: string };

/** Blobs that containerd did not take, by digest, with what it said. */
export type RefusedBlobs = ReadonlyMap<string, string>;
