import { asImageID, type ImageID } from './ids.ts';
import { isRecord } from '../text/is-record.ts';
import { repositoryOf } from './reference.ts';
import { parseStrictly } from '../text/strict-json.ts';

/** The image of each reference, over all repositories. */
export type References = ReadonlyMap<string, ImageID>;

/**
 * The content of repositories.json (moby, reference/store.go). What we cannot read as a reference is kept as it is,
 * because the file is the user's.
 */
export interface ReferenceStore {
  readonly references: References;
  /** The whole file, parsed, on which what is written back is based. */
  readonly document: Record<string, unknown>;
}

export const emptyReferenceStore: ReferenceStore = { references: new Map(), document: { Repositories: {} } };

/**
 * Parses repositories.json.
 * @throws Error if it is not what dockerd writes. dockerd itself does not start then
 */
export function parseReferenceStore(text: string): ReferenceStore {
  const document: unknown = parseStrictly(text);
  if (!isRecord(document)) throw new Error('expected an object, found something else');
  const repositories = document['Repositories'] ?? {};
  if (!isRecord(repositories)) throw new Error('`Repositories`: expected an object, found something else');
  const references = new Map<string, ImageID>();
  for (const entries of Object.values(repositories)) {
    if (!isRecord(entries))
      throw new Error('`Repositories`: expected an object for each repository, found something else');
    for (const [reference, id] of Object.entries(entries)) {
      const image = asImageID(id);
      if (image !== undefined) references.set(reference, image);
    }
  }
  return { references, document };
}

/**
 * The file's new text: the old document with the changes, of which undefined means removal. A repository without
 * references is removed, as dockerd does it.
 */
export function updateReferenceStore(store: ReferenceStore, changes: ReadonlyMap<string, ImageID | undefined>): string {
  const old = store.document['Repositories'];
  const repositories = new Map(Object.entries(isRecord(old) ? old : {}));
  for (const [repository, changed] of Map.groupBy(changes, ([reference]) => repositoryOf(reference))) {
    const entries = new Map(Object.entries((repositories.get(repository) ?? {}) as Record<string, unknown>));
    for (const [reference, image] of changed) {
      if (image === undefined) entries.delete(reference);
      else entries.set(reference, image);
    }
    if (entries.size === 0) repositories.delete(repository);
    else repositories.set(repository, Object.fromEntries(entries));
  }
  return JSON.stringify({ ...store.document, Repositories: Object.fromEntries(repositories) });
}
