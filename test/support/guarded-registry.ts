import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { execa } from 'execa';
import { startRegistry, type Registry } from './registry.ts';

/** Who may use a guarded registry. */
export const registryUser = { name: 'fleet', password: 'fleet-password' } as const;
/** The same as htpasswd(1) writes it, with bcrypt. */
const HTPASSWD = 'fleet:$2b$12$GCAFA1s3/j//dYO9ymCHqOdVHOi0PIx6Osdrv2knGg0SnZlu5vnka\n';

/** Starts a registry that has TLS, with a certificate that nobody vouches for, and lets only `registryUser` in. */
export async function startGuardedRegistry(folder: string): Promise<Registry> {
  const at = (name: string): string => path.join(folder, name);
  mkdirSync(folder, { recursive: true });
  writeFileSync(at('htpasswd'), HTPASSWD);
  const subject = ['-subj', '/CN=127.0.0.1', '-addext', 'subjectAltName=IP:127.0.0.1'];
  const files = ['-keyout', at('key.pem'), '-out', at('certificate.pem')];
  await execa('openssl', ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', ...subject, ...files]);
  const tls = { certificate: at('certificate.pem'), key: at('key.pem') };
  return startRegistry(folder, { tls, htpasswd: at('htpasswd') });
}

/** The file that `skopeo login` writes for a guarded registry. */
export function authFileFor({ address }: Registry): string {
  const auth = Buffer.from(`${registryUser.name}:${registryUser.password}`).toString('base64');
  return JSON.stringify({ auths: { [address]: { auth } } });
}
