import { preloadedStoreTests } from './preloaded-store.ts';

preloadedStoreTests('20.10');
