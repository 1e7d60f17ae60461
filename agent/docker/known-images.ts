// Images that an engine has under an id alone: one that was loaded has lost the registry's digest, by which manifests name it. Whoever asks
// for an image goes through these two calls. Given a dockerode instance by engine.ts.

/** Finds the engine's id for a reference that the engine itself does not know. */
export type FindImageId = (reference: string) => string | undefined;

interface NamedImage {
  inspect(): Promise<unknown>;
}

/** The corner of dockerode that is needed here; only engine.ts knows the rest. */
interface KnowingDocker {
  getImage(reference: string): NamedImage;
  createContainer(options: { Image?: string }): Promise<unknown>;
}

/** Makes an engine's client know them. What the engine knows by itself goes first: an image that was pulled since is that one. */
export function knowImages(docker: KnowingDocker, findId: FindImageId): void {
  const getImage = docker.getImage.bind(docker);
  docker.getImage = (reference) => {
    const image = getImage(reference);
    const inspect = image.inspect.bind(image);
    image.inspect = async () => {
      try {
        return await inspect();
      } catch (error) {
        const id = isMissing(error) ? findId(reference) : undefined;
        if (id === undefined) throw error;
        return await getImage(id).inspect();
      }
    };
    return image;
  };
  const create = docker.createContainer.bind(docker);
  docker.createContainer = async (options) => {
    try {
      return await create(options);
    } catch (error) {
      const id = isMissing(error) && options.Image !== undefined ? findId(options.Image) : undefined;
      if (id === undefined) throw error;
      return await create({ ...options, Image: id });
    }
  };
}

/** Docker Engine API, "Create a container": 404 is "no such image". */
function isMissing(error: unknown): boolean {
  return (error as { statusCode?: number }).statusCode === 404;
}
