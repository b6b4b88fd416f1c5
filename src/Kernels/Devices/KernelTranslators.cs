using System.Collections.Concurrent;
using ILGPU;
using ILGPU.Backends;
using ILGPU.Backends.PTX;
using ILGPU.Runtime;

namespace TransferEngine.Kernels;

/// <summary>
/// Translates kernels by ILGPU, several at a time. Each translator has a context of its own: within one, ILGPU 1.5.3 takes turns in one half of the work and shares tables
/// of intrinsics without a lock in the other. One is made when all others are at work, and kept; one that failed is not used again.
/// </summary>
/// <param name="backend">Makes a translator within a context.</param>
/// <param name="most">How many translate at once; more wait for their turn.</param>
internal sealed class KernelTranslators(Func<Context, Backend> backend, int most) : IDisposable
{
    private readonly ConcurrentStack<Translator> idle = new();
    private readonly SemaphoreSlim places = new(most);

    /// <summary>Translates a kernel, on the calling thread.</summary>
    public KernelText Translate(Type kernel)
    {
        places.Wait();
        try
        {
            if (!idle.TryPop(out var translator))
                translator = New();
            try
            {
                var entry = KernelLoader.Entry(kernel);
                var text = KernelLoader.TextOf(translator.Backend is PTXBackend ptx ? KernelLoader.Compile(ptx, entry) : translator.Backend.Compile(entry, KernelSpecialization.Empty));
                idle.Push(translator);
                return text;
            }
            catch
            {
                translator.Context.Dispose();
                throw;
            }
        }
        finally
        {
            places.Release();
        }
    }

    public void Dispose()
    {
        while (idle.TryPop(out var translator))
            translator.Context.Dispose();
        places.Dispose();
    }

    private Translator New()
    {
        var context = ComputeDevice.CompilerContext();
        try
        {
            return new(context, backend(context));
        }
        catch
        {
            context.Dispose();
            throw;
        }
    }

    private readonly record struct Translator(Context Context, Backend Backend);
}
