using System.Reflection;
using System.Runtime.CompilerServices;
using ILGPU;

namespace TransferEngine.Kernels;

/// <summary>
/// A barrier-free kernel over elements of type <typeparamref name="T"/>: its fields are its arguments, <see cref="Execute"/> is one work item.
/// It is written over a lane, and the device chooses which: one number on a GPU, a vector on the CPU.
/// </summary>
internal interface IKernel<T> where T : unmanaged
{
    void Execute<L>(int item) where L : unmanaged, ILane<L, T>;
}

/// <summary>A kernel of work groups with shared memory and barriers: for CUDA and OpenCL, and at small sizes ILGPU's CPU accelerator.</summary>
internal interface IGroupKernel<T> where T : unmanaged
{
    /// <summary>Runs once for every thread of every group; sees its place through ILGPU's Grid and Group.</summary>
    void Execute<L>() where L : unmanaged, ILane<L, T>;
}

/// <summary>The static methods that ILGPU compiles; a kernel and its lane are type arguments.</summary>
internal static class KernelEntry
{
    /// <summary>The entry that ILGPU compiles for a kernel type, over the scalar lane of its elements.</summary>
    public static MethodInfo Method(Type kernel)
    {
        foreach (var contract in kernel.GetInterfaces().Where(i => i.IsGenericType))
        {
            var element = contract.GenericTypeArguments[0];
            var lane = element == typeof(double) ? typeof(Scalar64) : typeof(Scalar32);
            if (contract.GetGenericTypeDefinition() == typeof(IKernel<>))
                return typeof(KernelEntry).GetMethod(nameof(Item))!.MakeGenericMethod(element, kernel, lane);
            if (contract.GetGenericTypeDefinition() == typeof(IGroupKernel<>))
                return typeof(KernelEntry).GetMethod(nameof(Group))!.MakeGenericMethod(element, kernel, lane);
        }
        throw new ArgumentException($"{kernel} is no kernel.", nameof(kernel));
    }

    public static void Item<T, K, L>(Index1D item, K kernel)
        where T : unmanaged where K : struct, IKernel<T> where L : unmanaged, ILane<L, T> => kernel.Execute<L>(item);

    public static void Group<T, K, L>(K kernel)
        where T : unmanaged where K : struct, IGroupKernel<T> where L : unmanaged, ILane<L, T> => kernel.Execute<L>();
}

/// <summary>A kernel bound to the lane that the CPU runs it with.</summary>
internal struct LanedWork<T, K, L>(K kernel) : IWork
    where T : unmanaged where K : struct, IKernel<T> where L : unmanaged, ILane<L, T>
{
    private K kernel = kernel;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Execute(int item) => kernel.Execute<L>(item);
}
