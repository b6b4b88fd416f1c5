using System.Reflection;
using ILGPU;

namespace TransferEngine.Kernels.Tests;

/// <summary>The bytes of a kernel's argument for <see cref="PtxMachine"/>, laid out as ILGPU does: fields in order, each aligned to its size, views as an address and a length.</summary>
internal static class KernelBytes
{
    public static byte[] Of(object kernel)
    {
        using var stream = new MemoryStream();
        using var writer = new BinaryWriter(stream);
        Write(writer, kernel);
        return stream.ToArray();
    }

    /// <summary>A view of the machine's memory, from a number on.</summary>
    public static unsafe ArrayView<float> View(int at, int length) => Direct.View((float*)(PtxMachine.GlobalBase + 4L * at), length);

    private static unsafe void Write(BinaryWriter writer, object value)
    {
        Align(writer, AlignmentOf(value.GetType()));
        switch (value)
        {
            case ArrayView<float> view:
                writer.Write((long)System.Runtime.CompilerServices.Unsafe.AsPointer(ref Direct.At(ref view, 0)));
                writer.Write(view.Length);
                return;
            case int number:
                writer.Write(number);
                return;
            case long or ulong:
                writer.Write(Convert.ToInt64(value, System.Globalization.CultureInfo.InvariantCulture));
                return;
        }
        var fields = FieldsOf(value.GetType());
        if (fields.Length == 0)
            writer.Write((byte)0);
        foreach (var field in fields)
            Write(writer, field.GetValue(value)!);
        Align(writer, AlignmentOf(value.GetType()));
    }

    private static void Align(BinaryWriter writer, int alignment)
    {
        while (writer.BaseStream.Length % alignment != 0)
            writer.Write((byte)0);
    }

    private static int AlignmentOf(Type type) => type == typeof(int) ? 4 : type == typeof(long) || type == typeof(ulong) || type == typeof(ArrayView<float>) ? 8
        : FieldsOf(type).Select(field => AlignmentOf(field.FieldType)).DefaultIfEmpty(1).Max();

    private static FieldInfo[] FieldsOf(Type type) => type.IsPrimitive || !type.IsValueType
        ? throw new NotSupportedException($"{type} in a kernel's argument") : type.GetFields(BindingFlags.Instance | BindingFlags.Public | BindingFlags.NonPublic);
}
