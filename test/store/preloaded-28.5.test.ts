import { preloadedStoreTests } from './preloaded-store.ts';

preloadedStoreTests('28.5');
