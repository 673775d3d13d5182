import { parseSync } from 'oxc-parser';

/** A file that another file imports, or a module of the runtime or a package. */
interface Import {
  /** As it is written. */
  readonly specifier: string;
  /** What is taken of it by name; undefined where the whole is at hand, as with `import *` or `import()`. */
  readonly names: readonly string[] | undefined;
}

/** What a file has from elsewhere: what it imports, types included, and what is there without an import. */
export interface Source {
  readonly imports: readonly Import[];
  /** Names of the values that others may import. Types may be exported for who reads a signature. */
  readonly exports: readonly string[];
  /** Globals by name, with what is taken of them: `setTimeout`, `process.env`, `Date.now`, `new Date()`. */
  readonly globals: readonly string[];
  /** How files are opened for writing, or by flags that are not written out: then nobody sees that they only read. */
  readonly writeFlags: readonly string[];
  /** The texts in it: of a template those between its values. */
  readonly texts: readonly string[];
}

interface Node {
  readonly type: string;
  readonly [key: string]: unknown;
}

/** Objects of which only what is taken of them counts. */
const TAKEN_FROM = new Set(['process', 'Date', 'Atomics', 'AbortSignal', 'globalThis', 'import.meta']);

/** @throws Error where the text is no TypeScript, or imports what cannot be read off it */
export function parseSource(file: string, text: string): Source {
  const { program, errors } = parseSync(file, text, { preserveParens: false });
  if (errors[0] !== undefined) throw new Error(`${file}: ${errors[0].message}`);
  const imports: Import[] = [];
  const exports: string[] = [];
  const takenLater = new Map<unknown, readonly string[] | undefined>();
  const globals: string[] = [];
  const writeFlags: string[] = [];
  const texts: string[] = [];
  const importOf = (source: unknown, names: readonly string[] | undefined): void => {
    const specifier = literalOf(source);
    if (specifier === undefined)
      throw new Error(`${file}: expected each import to name its module, found a computed one`);
    imports.push({ specifier, names });
  };
  const visit = (node: Node, parent: Node | undefined, key: string): void => {
    switch (node.type) {
      case 'ImportDeclaration':
        importOf(node['source'], namesOf(node['specifiers']));
        writeFlags.push(...openByAnotherName(node));
        return;
      case 'TSExternalModuleReference':
        importOf(node['expression'], undefined);
        break;
      case 'ExportNamedDeclaration':
        exports.push(...exportedBy(node));
        if (node['source'] !== null) {
          importOf(node['source'], namesOf(node['specifiers']));
          return;
        }
        break;
      case 'ExportDefaultDeclaration':
        exports.push('default');
        break;
      case 'ExportAllDeclaration':
      case 'ImportExpression':
        importOf(node['source'], takenLater.get(node));
        break;
      case 'TSImportType':
        importOf(node['source'], namedBy(node['qualifier']));
        break;
      case 'VariableDeclarator':
        takenLater.set(lazyImportIn(node['init']), keysOf(node['id']));
        break;
      case 'CallExpression':
        if (isRequire(node['callee'])) importOf(first(node['arguments']), undefined);
        if (nameOf(node['callee']) === 'Date') globals.push('new Date()');
        writeFlags.push(...openFlags(node));
        break;
      case 'NewExpression':
        if (nameOf(node['callee']) === 'Date' && first(node['arguments']) === undefined) globals.push('new Date()');
        break;
      case 'MemberExpression':
        takenLater.set(lazyImportIn(node['object']), listOf(propertyOf(node)));
        if (WRITING_FLAG.test(propertyOf(node) ?? '')) writeFlags.push(propertyOf(node) ?? '');
        break;
      case 'Literal':
        texts.push(...(listOf(literalOf(node)) ?? []));
        break;
      case 'TemplateElement':
        texts.push((node['value'] as { readonly raw: string }).raw);
        break;
      case 'MetaProperty':
        globals.push(takenOf('import.meta', parent, key));
        break;
      case 'Identifier':
        if (!isValue(parent, key)) break;
        globals.push(takenOf(String(node['name']), parent, key));
        if (WRITING_FLAG.test(String(node['name']))) writeFlags.push(String(node['name']));
        if (isHandedOn(node, parent, key)) writeFlags.push(String(node['name']));
        break;
    }
    for (const [name, value] of Object.entries(node))
      for (const child of Array.isArray(value) ? value : [value]) if (isNode(child)) visit(child, node, name);
  };
  visit(program as unknown as Node, undefined, '');
  return { imports, exports, globals, writeFlags, texts };
}

const isNode = (value: unknown): value is Node => typeof value === 'object' && value !== null && 'type' in value;
const nodesIn = (list: unknown): Node[] => (Array.isArray(list) ? list : []).filter((one) => isNode(one));
const first = (list: unknown): unknown => (Array.isArray(list) ? list[0] : undefined);
const listOf = (name: string | undefined): string[] | undefined => (name === undefined ? undefined : [name]);
const nameOf = (node: unknown): string | undefined =>
  isNode(node) && node.type === 'Identifier' ? String(node['name']) : undefined;
const literalOf = (node: unknown): string | undefined =>
  isNode(node) && node.type === 'Literal' && typeof node['value'] === 'string' ? node['value'] : undefined;

/** The name of what is taken of an object, whether by `.name` or `['name']`. */
const propertyOf = (member: Node): string | undefined =>
  member['computed'] === true ? literalOf(member['property']) : nameOf(member['property']);

function namesOf(specifiers: unknown): readonly string[] | undefined {
  const list = nodesIn(specifiers);
  const isWhole = (one: Node): boolean =>
    one.type === 'ImportNamespaceSpecifier' || one.type === 'ImportDefaultSpecifier';
  if (list.some((one) => isWhole(one))) return undefined;
  return list.map((one) => {
    const name = one['imported'] ?? one['local'];
    return nameOf(name) ?? literalOf(name) ?? '';
  });
}

/** What `await import(…)` stands for, or undefined. */
const lazyImportIn = (node: unknown): unknown =>
  isNode(node) && node.type === 'AwaitExpression' && isNode(node['argument']) ? node['argument'] : undefined;

/** What is taken out of an object by `{ a, b: c }`; undefined where that may be all. */
function keysOf(pattern: unknown): readonly string[] | undefined {
  if (!isNode(pattern) || pattern.type !== 'ObjectPattern') return undefined;
  const keys = nodesIn(pattern['properties']).flatMap((one) => nameOf(one['key']) ?? []);
  return keys.length === nodesIn(pattern['properties']).length ? keys : undefined;
}

/** The first name of `a` or `a.b`. */
function namedBy(qualifier: unknown): readonly string[] | undefined {
  if (!isNode(qualifier)) return undefined;
  return qualifier.type === 'TSQualifiedName' ? namedBy(qualifier['left']) : listOf(nameOf(qualifier));
}

function exportedBy(node: Node): string[] {
  const specifiers = nodesIn(node['specifiers']).flatMap((one) => nameOf(one['exported']) ?? []);
  const declaration = node['declaration'];
  if (!isNode(declaration)) return specifiers;
  if (declaration.type.startsWith('TS')) return [];
  const declared = declaration.type === 'VariableDeclaration' ? nodesIn(declaration['declarations']) : [declaration];
  return [...specifiers, ...declared.flatMap((one) => nameOf(one['id']) ?? [])];
}

/** `require(…)`, `createRequire(…)(…)` and `process.getBuiltinModule(…)`. */
function isRequire(callee: unknown): boolean {
  if (!isNode(callee)) return false;
  if (nameOf(callee) === 'require') return true;
  if (callee.type === 'CallExpression') return nameOf(callee['callee']) === 'createRequire';
  return callee.type === 'MemberExpression' && propertyOf(callee) === 'getBuiltinModule';
}

/**
 * The names by which files are opened: node:fs has the first two of them, the last is what node:fs/promises's is
 * called.
 */
const OPEN = /^(open|openSync|openFile)$/;
const WRITING_FLAG = /^O_(WRONLY|RDWR|CREAT|TRUNC|APPEND)$/;

function openFlags(call: Node): string[] {
  const callee = call['callee'];
  const name = isNode(callee) && callee.type === 'MemberExpression' ? propertyOf(callee) : nameOf(callee);
  const flags = Array.isArray(call['arguments']) ? call['arguments'][1] : undefined;
  if (!OPEN.test(name ?? '') || flags === undefined) return [];
  const text = literalOf(flags);
  if (text !== undefined) return /[wa+]/.test(text) ? [text] : [];
  // A method may be anybody's; who has all of node:fs at hand counts as writing anyway.
  return areNamed(flags) || nameOf(callee) === undefined ? [] : [`${name} by flags that are not written out`];
}

/** Whether flags are names of fcntl.h alone; which of them write is looked at elsewhere. */
function areNamed(flags: unknown): boolean {
  if (!isNode(flags)) return false;
  if (flags.type === 'BinaryExpression') return areNamed(flags['left']) && areNamed(flags['right']);
  return (flags.type === 'MemberExpression' ? propertyOf(flags) : nameOf(flags))?.startsWith('O_') === true;
}

/** Where `open` gets a name of the file's own, by which nobody would find what is opened. */
function openByAnotherName({ specifiers }: Node): string[] {
  return nodesIn(specifiers)
    .filter((one) => OPEN.test(nameOf(one['imported']) ?? '') && !OPEN.test(nameOf(one['local']) ?? ''))
    .map((one) => `${nameOf(one['imported'])} as ${nameOf(one['local'])}`);
}

/** Whether `openSync` is not called but given to something. */
function isHandedOn(identifier: Node, parent: Node | undefined, key: string): boolean {
  return nameOf(identifier) === 'openSync' && !(parent?.type === 'CallExpression' && key === 'callee');
}

/**
 * Whether a name stands for a value: no key of an object, no property of another value, and no name of a type's member.
 */
function isValue(parent: Node | undefined, key: string): boolean {
  const isPlainKey = key === 'key' && parent?.['computed'] !== true && parent?.['shorthand'] !== true;
  const isProperty = key === 'property' && parent?.type === 'MemberExpression' && parent['computed'] !== true;
  return !isPlainKey && !isProperty && parent?.type !== 'TSQualifiedName';
}

function takenOf(name: string, parent: Node | undefined, key: string): string {
  if (!TAKEN_FROM.has(name)) return name;
  if (key === 'object' && parent?.type === 'MemberExpression') return `${name}.${propertyOf(parent) ?? '*'}`;
  // A class stands in types, too, and is called. What else stands on its own is handed on with all that it has.
  const isClass = name === 'Date' || name === 'AbortSignal';
  return isClass && (parent?.type === 'TSTypeReference' || key === 'callee') ? name : `${name}.*`;
}
