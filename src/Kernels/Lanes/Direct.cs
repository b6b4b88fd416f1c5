using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics.X86;
using ILGPU;

namespace TransferEngine.Kernels;

/// <summary>
/// Reads a view on the CPU's direct path, where its index is the absolute address in elements (<see cref="MemoryBlock.View"/>). The index is
/// not public in ILGPU, so it is read through a struct of the same layout, which is checked once.
/// </summary>
internal static unsafe class Direct
{
#pragma warning disable CS0649 // Filled by reinterpretation.
    private struct Layout
    {
        public object? Buffer;
        public long Index;
        public long Length;
    }
#pragma warning restore CS0649

    /// <summary>How far <see cref="PrefetchAhead"/> looks, in bytes: three pages, which no processor's own prefetcher crosses, and a part of any first-level cache.</summary>
    private const int Ahead = 12 << 10;

    /// <summary>Fails where ILGPU's view has another layout than this code reads.</summary>
    public static void CheckLayout()
    {
        var probe = new ArrayView<float>(null!, 1234, 56);
        ref var read = ref Unsafe.As<ArrayView<float>, Layout>(ref probe);
        if (Unsafe.SizeOf<ArrayView<float>>() != Unsafe.SizeOf<Layout>() || read.Index != 1234 || read.Length != 56)
            throw new NotSupportedException("This version of ILGPU lays out ArrayView in another way than the CPU's direct path reads. Use ILGPU 1.5.3.");
    }

    /// <summary>A view of memory that is no block's, such as a stack's; only for kernels of the direct path.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ArrayView<T> View<T>(T* start, int length) where T : unmanaged => new(null!, (nint)start / sizeof(T), length);

    /// <summary>Starts to bring elements into the first-level cache, where the processor takes such hints.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Prefetch<T>(ArrayView<T> view, int index, int count) where T : unmanaged
    {
        if (!Sse.IsSupported)
            return;
        T* first = (T*)Unsafe.AsPointer(ref At(ref view, index)), last = first + count - 1;
        for (byte* line = (byte*)first; line < last; line += 64)
            Sse.Prefetch0(line);
        Sse.Prefetch0(last);
    }

    /// <summary>Starts to bring the line that a stream reaches a moment later into the first-level cache; past the end of memory this does nothing.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void PrefetchAhead<T>(ref T at) where T : unmanaged
    {
        if (Sse.IsSupported)
            Sse.Prefetch0((byte*)Unsafe.AsPointer(ref at) + Ahead);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ref T At<T>(scoped ref ArrayView<T> view, int index) where T : unmanaged =>
        ref Unsafe.AsRef<T>((T*)0 + (Unsafe.As<ArrayView<T>, Layout>(ref view).Index + index));
}
