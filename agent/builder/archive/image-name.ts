import { parseReference } from '../../docker/reference.ts';

/**
 * A name with a tag as dockerd keeps it: without `docker.io/` and `library/`, and with `latest` if no tag is given
 * (distribution/reference, ParseNormalizedNamed and FamiliarString).
 * @throws Error if it is not a valid name
 */
export function familiarReference(text: string): string {
  const slash = text.lastIndexOf('/');
  const colon = text.indexOf(':', slash + 1);
  const name = colon === -1 ? text : text.slice(0, colon);
  const tag = colon === -1 ? 'latest' : text.slice(colon + 1);
  const repository = familiarName(name);
  const reference = parseReference(repository, `${repository}:${tag}`);
  if (reference === undefined) throw new Error(`expected a name as in NAME:TAG, found '${text.slice(0, 300)}'`);
  return reference.text;
}

function familiarName(name: string): string {
  const [first = '', ...rest] = name.split('/');
  if ((first !== 'docker.io' && first !== 'index.docker.io') || rest.length === 0)
    return rest.length > 0 || first === '' ? name : first;
  return rest.length === 2 && rest[0] === 'library' ? (rest[1] ?? '') : rest.join('/');
}
