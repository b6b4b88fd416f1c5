using ILGPU;

namespace TransferEngine.Kernels;

/// <summary>One float: a lane of width 1, for a GPU thread and for ILGPU's CPU accelerator.</summary>
internal readonly struct Scalar32(float value) : ILane<Scalar32, float>
{
    private readonly float value = value;

    public static int Width => 1;

    public static int FractionBits => 23;

    public static ref U At<U>(ArrayView<U> view, int index) where U : unmanaged => ref view[index];

    public static Scalar32 Load(ArrayView<float> view, int index) => new(view[index]);

    public static Scalar32 LoadNext(ArrayView<float> view, int index) => new(view[index]);

    public static Scalar32 Load(ArrayView<float> view, int index, int remaining, Scalar32 fill) => new(view[index]);

    public static Scalar32 Gather(ArrayView<float> view, int index, int stride, int remaining) => new(view[index]);

    public static void Store(ArrayView<float> view, int index, Scalar32 value) => view[index] = value.value;

    public static void Store(ArrayView<float> view, int index, int remaining, Scalar32 value) => view[index] = value.value;

    public static void StoreIntegers(ArrayView<int> view, int index, int remaining, Scalar32 value) => view[index] = (int)value.value;

    public static Scalar32 Splat(float value) => new(value);

    public static Scalar32 Constant(double value) => new((float)value);

    public static Scalar32 Ramp() => new(0);

    public static float First(Scalar32 x) => x.value;

    public static Scalar32 operator +(Scalar32 a, Scalar32 b) => new(a.value + b.value);

    public static Scalar32 operator -(Scalar32 a, Scalar32 b) => new(a.value - b.value);

    public static Scalar32 operator *(Scalar32 a, Scalar32 b) => new(a.value * b.value);

    public static Scalar32 operator /(Scalar32 a, Scalar32 b) => new(a.value / b.value);

    public static Scalar32 operator -(Scalar32 a) => new(-a.value);

    public static Scalar32 MultiplyAdd(Scalar32 a, Scalar32 b, Scalar32 c) => new(a.value * b.value + c.value);

    public static Scalar32 Abs(Scalar32 x) => new(MathF.Abs(x.value));

    public static Scalar32 Sqrt(Scalar32 x) => new(MathF.Sqrt(x.value));

    public static Scalar32 Floor(Scalar32 x) => new(MathF.Floor(x.value));

    public static Scalar32 Min(Scalar32 a, Scalar32 b) => a.value < b.value || IsNaN(a.value) ? a : b;

    public static Scalar32 Max(Scalar32 a, Scalar32 b) => a.value > b.value || IsNaN(a.value) ? a : b;

    public static Scalar32 IfLess(Scalar32 a, Scalar32 b, Scalar32 then, Scalar32 otherwise) => a.value < b.value ? then : otherwise;

    public static Scalar32 IfLessOrEqual(Scalar32 a, Scalar32 b, Scalar32 then, Scalar32 otherwise) => a.value <= b.value ? then : otherwise;

    public static Scalar32 IfEqual(Scalar32 a, Scalar32 b, Scalar32 then, Scalar32 otherwise) => a.value == b.value ? then : otherwise;

    public static Scalar32 PowerOfTwo(Scalar32 n) => new(BitConverter.Int32BitsToSingle(((int)n.value + 127) << 23));

    public static Scalar32 Exponent(Scalar32 x) => new((BitConverter.SingleToInt32Bits(x.value) >> 23) - 127);

    public static float Sum(Scalar32 x) => x.value;

    public static float Product(Scalar32 x) => x.value;

    public static bool IsOne(Scalar32 x) => x.value == 1;

    public static float Largest(Scalar32 x) => x.value;

    public static float Smallest(Scalar32 x) => x.value;

    // Written out, as a compiler of GPU code may take x != x for false.
    private static bool IsNaN(float x) => float.IsNaN(x);
}
