using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using ILGPU;
using ILGPU.IR.Intrinsics;

namespace TransferEngine.Kernels;

/// <summary>A vector of 512 bits: a lane of the CPU's direct path. Its members are intrinsics to ILGPU, which must not translate them.</summary>
internal readonly struct Simd512<T>(Vector512<T> value) : ILane<Simd512<T>, T> where T : unmanaged
{
    private const MethodImplOptions Inline = MethodImplOptions.AggressiveInlining;

    private readonly Vector512<T> value = value;

    public static int Width { [IntrinsicImplementation, MethodImpl(Inline)] get => Vector512<T>.Count; }

    public static int FractionBits { [IntrinsicImplementation, MethodImpl(Inline)] get => typeof(T) == typeof(float) ? 23 : 52; }

    [IntrinsicImplementation, MethodImpl(Inline)]
    public static ref U At<U>(ArrayView<U> view, int index) where U : unmanaged => ref Direct.At(ref view, index);

    [IntrinsicImplementation, MethodImpl(Inline)]
    public static Simd512<T> Load(ArrayView<T> view, int index) => new(Vector512.LoadUnsafe(ref Direct.At(ref view, index)));

    [IntrinsicImplementation, MethodImpl(Inline)]
    public static Simd512<T> LoadNext(ArrayView<T> view, int index)
    {
        ref T first = ref Direct.At(ref view, index);
        Direct.PrefetchAhead(ref first);
        return new(Vector512.LoadUnsafe(ref first));
    }

    [IntrinsicImplementation, MethodImpl(Inline)]
    public static Simd512<T> Load(ArrayView<T> view, int index, int remaining, Simd512<T> fill) =>
        remaining >= Width ? Load(view, index) : LoadTail(ref Direct.At(ref view, index), remaining, fill);

    [IntrinsicImplementation]
    public static Simd512<T> Gather(ArrayView<T> view, int index, int stride, int remaining)
    {
        var value = Constant(1).value;
        for (int i = 0; i < Math.Min(Width, remaining); i++)
            Unsafe.Add(ref Unsafe.As<Vector512<T>, T>(ref value), i) = Direct.At(ref view, index + i * stride);
        return new(value);
    }

    [IntrinsicImplementation, MethodImpl(Inline)]
    public static void Store(ArrayView<T> view, int index, Simd512<T> value) => value.value.StoreUnsafe(ref Direct.At(ref view, index));

    [IntrinsicImplementation, MethodImpl(Inline)]
    public static void Store(ArrayView<T> view, int index, int remaining, Simd512<T> value)
    {
        if (remaining >= Width)
            Store(view, index, value);
        else
            StoreTail(ref Direct.At(ref view, index), remaining, value);
    }

    [IntrinsicImplementation, MethodImpl(Inline)]
    public static void StoreIntegers(ArrayView<int> view, int index, int remaining, Simd512<T> value)
    {
        ref int destination = ref Direct.At(ref view, index);
        if (typeof(T) == typeof(float))
        {
            var integers = Vector512.ConvertToInt32(value.value.As<T, float>());
            if (remaining >= Width)
                integers.StoreUnsafe(ref destination);
            else
                Unsafe.CopyBlockUnaligned(ref Unsafe.As<int, byte>(ref destination), ref Unsafe.As<Vector512<int>, byte>(ref integers), (uint)(remaining * sizeof(int)));
            return;
        }
        for (int i = 0; i < Math.Min(Width, remaining); i++)
            Unsafe.Add(ref destination, i) = (int)value.value.As<T, double>()[i];
    }

    [IntrinsicImplementation, MethodImpl(Inline)]
    public static Simd512<T> Splat(T value) => new(Vector512.Create(value));

    [IntrinsicImplementation, MethodImpl(Inline)]
    public static Simd512<T> Constant(double value) =>
        typeof(T) == typeof(float) ? new(Vector512.Create((float)value).As<float, T>()) : new(Vector512.Create(value).As<double, T>());

    [IntrinsicImplementation, MethodImpl(Inline)]
    public static Simd512<T> Ramp() => new(Vector512<T>.Indices);

    [IntrinsicImplementation, MethodImpl(Inline)]
    public static T First(Simd512<T> x) => x.value.ToScalar();

    [IntrinsicImplementation, MethodImpl(Inline)]
    public static Simd512<T> operator +(Simd512<T> a, Simd512<T> b) => new(a.value + b.value);

    [IntrinsicImplementation, MethodImpl(Inline)]
    public static Simd512<T> operator -(Simd512<T> a, Simd512<T> b) => new(a.value - b.value);

    [IntrinsicImplementation, MethodImpl(Inline)]
    public static Simd512<T> operator *(Simd512<T> a, Simd512<T> b) => new(a.value * b.value);

    [IntrinsicImplementation, MethodImpl(Inline)]
    public static Simd512<T> operator /(Simd512<T> a, Simd512<T> b) => new(a.value / b.value);

    [IntrinsicImplementation, MethodImpl(Inline)]
    public static Simd512<T> operator -(Simd512<T> a) => new(-a.value);

    [IntrinsicImplementation, MethodImpl(Inline)]
    public static Simd512<T> MultiplyAdd(Simd512<T> a, Simd512<T> b, Simd512<T> c) => typeof(T) == typeof(float)
        ? new(Vector512.FusedMultiplyAdd(a.value.As<T, float>(), b.value.As<T, float>(), c.value.As<T, float>()).As<float, T>())
        : new(Vector512.FusedMultiplyAdd(a.value.As<T, double>(), b.value.As<T, double>(), c.value.As<T, double>()).As<double, T>());

    [IntrinsicImplementation, MethodImpl(Inline)]
    public static Simd512<T> Abs(Simd512<T> x) => new(Vector512.Abs(x.value));

    [IntrinsicImplementation, MethodImpl(Inline)]
    public static Simd512<T> Sqrt(Simd512<T> x) => new(Vector512.Sqrt(x.value));

    [IntrinsicImplementation, MethodImpl(Inline)]
    public static Simd512<T> Floor(Simd512<T> x) => typeof(T) == typeof(float)
        ? new(Vector512.Floor(x.value.As<T, float>()).As<float, T>())
        : new(Vector512.Floor(x.value.As<T, double>()).As<double, T>());

    [IntrinsicImplementation, MethodImpl(Inline)]
    public static Simd512<T> Min(Simd512<T> a, Simd512<T> b) => new(Vector512.Min(a.value, b.value));

    [IntrinsicImplementation, MethodImpl(Inline)]
    public static Simd512<T> Max(Simd512<T> a, Simd512<T> b) => new(Vector512.Max(a.value, b.value));

    [IntrinsicImplementation, MethodImpl(Inline)]
    public static Simd512<T> IfLess(Simd512<T> a, Simd512<T> b, Simd512<T> then, Simd512<T> otherwise) =>
        new(Vector512.ConditionalSelect(Vector512.LessThan(a.value, b.value), then.value, otherwise.value));

    [IntrinsicImplementation, MethodImpl(Inline)]
    public static Simd512<T> IfLessOrEqual(Simd512<T> a, Simd512<T> b, Simd512<T> then, Simd512<T> otherwise) =>
        new(Vector512.ConditionalSelect(Vector512.LessThanOrEqual(a.value, b.value), then.value, otherwise.value));

    [IntrinsicImplementation, MethodImpl(Inline)]
    public static Simd512<T> IfEqual(Simd512<T> a, Simd512<T> b, Simd512<T> then, Simd512<T> otherwise) =>
        new(Vector512.ConditionalSelect(Vector512.Equals(a.value, b.value), then.value, otherwise.value));

    [IntrinsicImplementation, MethodImpl(Inline)]
    public static Simd512<T> PowerOfTwo(Simd512<T> n) => typeof(T) == typeof(float)
        ? new(((Vector512.ConvertToInt32Native(n.value.As<T, float>()) + Vector512.Create(127)) << 23).As<int, T>())
        : new(((Vector512.ConvertToInt64Native(n.value.As<T, double>()) + Vector512.Create(1023L)) << 52).As<long, T>());

    [IntrinsicImplementation, MethodImpl(Inline)]
    public static Simd512<T> Exponent(Simd512<T> x) => typeof(T) == typeof(float)
        ? new(Vector512.ConvertToSingle((x.value.As<T, int>() >> 23) - Vector512.Create(127)).As<float, T>())
        : new(Vector512.ConvertToDouble((x.value.As<T, long>() >> 52) - Vector512.Create(1023L)).As<double, T>());

    [IntrinsicImplementation, MethodImpl(Inline)]
    public static T Sum(Simd512<T> x) => Vector512.Sum(x.value);

    [IntrinsicImplementation, MethodImpl(Inline)]
    public static T Product(Simd512<T> x) => Simd256<T>.Product(new(x.value.GetLower() * x.value.GetUpper()));

    [IntrinsicImplementation, MethodImpl(Inline)]
    public static bool IsOne(Simd512<T> x) => typeof(T) == typeof(float) ? (float)(object)x.value.ToScalar() == 1 : (double)(object)x.value.ToScalar() == 1;

    [IntrinsicImplementation, MethodImpl(Inline)]
    public static T Largest(Simd512<T> x) => Simd256<T>.Largest(new(Vector256.Max(x.value.GetLower(), x.value.GetUpper())));

    [IntrinsicImplementation, MethodImpl(Inline)]
    public static T Smallest(Simd512<T> x) => Simd256<T>.Smallest(new(Vector256.Min(x.value.GetLower(), x.value.GetUpper())));

    [MethodImpl(Inline)]
    private static unsafe Simd512<T> LoadTail(ref T source, int count, Simd512<T> fill)
    {
        if (Avx512F.IsSupported)
        {
            // A masked load touches only the places of the mask; the memory is never managed, so that its address stands.
            return typeof(T) == typeof(float)
                ? new(Avx512F.MaskLoad((float*)Unsafe.AsPointer(ref source), FirstPlaces(count).As<T, float>(), fill.value.As<T, float>()).As<float, T>())
                : new(Avx512F.MaskLoad((double*)Unsafe.AsPointer(ref source), FirstPlaces(count).As<T, double>(), fill.value.As<T, double>()).As<double, T>());
        }
        var value = fill.value;
        Unsafe.CopyBlockUnaligned(ref Unsafe.As<Vector512<T>, byte>(ref value), ref Unsafe.As<T, byte>(ref source), (uint)(count * Unsafe.SizeOf<T>()));
        return new(value);
    }

    [MethodImpl(Inline)]
    private static unsafe void StoreTail(ref T destination, int count, Simd512<T> x)
    {
        if (Avx512F.IsSupported)
        {
            if (typeof(T) == typeof(float))
                Avx512F.MaskStore((float*)Unsafe.AsPointer(ref destination), FirstPlaces(count).As<T, float>(), x.value.As<T, float>());
            else
                Avx512F.MaskStore((double*)Unsafe.AsPointer(ref destination), FirstPlaces(count).As<T, double>(), x.value.As<T, double>());
            return;
        }
        var value = x.value;
        Unsafe.CopyBlockUnaligned(ref Unsafe.As<T, byte>(ref destination), ref Unsafe.As<Vector512<T>, byte>(ref value), (uint)(count * Unsafe.SizeOf<T>()));
    }

    [MethodImpl(Inline)]
    private static Vector512<T> FirstPlaces(int count) => typeof(T) == typeof(float)
        ? Vector512.LessThan(Vector512<int>.Indices, Vector512.Create(count)).As<int, T>()
        : Vector512.LessThan(Vector512<long>.Indices, Vector512.Create((long)count)).As<long, T>();
}
